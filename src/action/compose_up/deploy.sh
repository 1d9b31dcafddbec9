umask 077
# What was kept here before was let go of: from now on something else is kept.
if [ -e "$DR_KEEP.released" ]; then
  rm -rf "$DR_KEEP"
  rm -f "$DR_KEEP.released"
fi
mkdir -p "$DR_KEEP"
keep() {
  [ -e "$DR_KEEP/$key.kept" ] || [ -e "$DR_KEEP/$key.none" ] || {
    if [ -e "$path" ]; then
      cp -a -- "$path" "$DR_KEEP/$key.part"
      mv -- "$DR_KEEP/$key.part" "$DR_KEEP/$key.kept"
    else
      : >"$DR_KEEP/$key.none"
    fi
  }
}
each keep
for unit in $DR_UNITS; do
  [ -e "$DR_KEEP/unit.$unit" ] || {
    state "$unit"
    echo "${active:-unknown} ${enabled:-unknown}" >"$DR_KEEP/unit.part"
    mv "$DR_KEEP/unit.part" "$DR_KEEP/unit.$unit"
  }
done
sync -f "$DR_KEEP"

write() {
  eval "unit=\$DR_UNIT_$key"
  mkdir -p -m 755 -- "${path%/*}"
  new=${path%/*}/.${path##*/}.dr-plan
  eval "printf '%s' \"\$DR_TEXT_$key\"" >"$new"
  chmod 644 "$new"
  if cmp -s "$new" "$path"; then
    rm -f -- "$new"
    return 0
  fi
  for one in ${unit:-$DR_UNITS}; do : >"$DR_KEEP/pending.$one"; done
  sync -f "$DR_KEEP"
  sync "$new"
  mv -fT -- "$new" "$path"
  echo "changed: $path"
}
each write
systemctl daemon-reload
for unit in $DR_UNITS; do
  state "$unit"
  case "$DR_ENABLED $enabled" in
    "yes enabled") ;;
    "yes "*) systemctl enable "$unit" ;;
    "no enabled") systemctl disable "$unit" ;;
  esac
done
for unit in $DR_STARTED; do
  state "$unit"
  if [ -e "$DR_KEEP/pending.$unit" ] || [ "$active" != active ]; then
    systemctl reset-failed "$unit" 2>/dev/null || true
    echo "starting $unit anew"
    systemctl restart "$unit" || {
      code=$?
      systemctl status "$unit" --no-pager --lines=10 || true
      exit "$code"
    }
  fi
done
# What is started by another unit reads its file when it is.
for unit in $DR_UNITS; do rm -f "$DR_KEEP/pending.$unit"; done
