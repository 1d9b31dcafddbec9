file() {
  if [ -L "$path" ] || { [ -e "$path" ] && [ ! -f "$path" ]; }; then echo "file $key other"
  elif [ -e "$path" ]; then echo "file $key $(sha256sum <"$path" | cut -d ' ' -f 1)"
  else echo "file $key absent"; fi
}
each file
for unit in $DR_UNITS; do
  state "$unit"
  pending=no
  [ ! -e "$DR_KEEP/pending.$unit" ] || pending=yes
  start=$(systemctl show -p InvocationID --value "$unit" 2>/dev/null) || true
  echo "unit $unit ${active:-unknown} ${enabled:-unknown} $pending ${start:--}"
done
