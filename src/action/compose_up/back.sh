if [ -e "$DR_KEEP.released" ]; then echo "what stood there before was let go of"; exit 1; fi
end() {
  eval "unit=\$DR_UNIT_$key"
  if [ -n "$unit" ] && [ -e "$DR_KEEP/$key.none" ] && [ -e "$path" ]; then
    systemctl stop "$unit" || true
    systemctl disable "$unit" || true
  fi
}
each end
back() {
  if [ -e "$DR_KEEP/$key.kept" ]; then
    next=${path%/*}/.${path##*/}.dr-plan
    cp -a -- "$DR_KEEP/$key.kept" "$next" || {
      rm -f -- "$next"
      echo "$path stays as it is, and what stood there before stays in $DR_KEEP"
      exit 1
    }
    sync "$next"
    mv -fT -- "$next" "$path"
    sync "${path%/*}"
  elif [ -e "$DR_KEEP/$key.none" ]; then
    rm -f -- "$path"
  fi
}
each back
systemctl daemon-reload
for unit in $DR_UNITS; do
  [ -e "$DR_KEEP/unit.$unit" ] || continue
  read -r was_active was_enabled <"$DR_KEEP/unit.$unit"
  case $was_enabled in
    enabled) systemctl enable "$unit" ;;
    disabled) systemctl disable "$unit" ;;
  esac
  if [ "$was_active" = active ]; then
    systemctl reset-failed "$unit" 2>/dev/null || true
    systemctl restart "$unit"
  else
    systemctl stop "$unit" 2>/dev/null || true
  fi
done
same() {
  [ ! -e "$DR_KEEP/$key.kept" ] || cmp -s -- "$DR_KEEP/$key.kept" "$path" || {
    echo "$path is not what it was before"
    exit 1
  }
}
each same
sync -f "$DR_KEEP"
rm -rf "$DR_KEEP"
