[ ! -e "$DR_KEEP.released" ] || echo released
file() {
  if [ -e "$DR_KEEP/$key.kept" ]; then echo "file $key $(sha256sum <"$DR_KEEP/$key.kept" | cut -d ' ' -f 1)"
  elif [ -e "$DR_KEEP/$key.none" ]; then echo "file $key absent"; fi
}
each file
for unit in $DR_UNITS; do
  [ ! -e "$DR_KEEP/unit.$unit" ] || { read -r active rest <"$DR_KEEP/unit.$unit"; echo "unit $unit $active"; }
done
