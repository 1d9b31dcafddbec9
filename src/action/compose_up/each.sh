each() {
  for key in $DR_KEYS; do
    eval "path=\$DR_PATH_$key"
    "$1"
  done
}
state() {
  active=$(systemctl is-active "$1" 2>/dev/null) || true
  enabled=$(systemctl is-enabled "$1" 2>/dev/null) || true
}
