# Whether we are root, without starting a program: the second number of "Uid:" is the effective one (proc_pid_status(5)).
dr_is_root() {
  while read -r dr_word dr_real dr_effective dr_rest; do
    if [ "$dr_word" = Uid: ]; then break; fi
  done </proc/self/status
  [ "$dr_effective" = 0 ]
}
# Whether we run as this user already.
dr_is() { if dr_is_root; then [ "$1" = root ]; else [ "$1" = "$(id -un)" ]; fi; }
# Runs a text in a new shell as another user; the text travels through a pipe, never as an argument.
dr_reader='dr_text=$(cat); exec </dev/null; set -eu; eval "$dr_text"'
dr_as() {
  if dr_is "$1"; then
    printf '%s' "$2" | sh -c "$dr_reader"
    return
  fi
  dr_group=$(id -g "$1") || exit 126
  if dr_is_root; then
    command -v setpriv >/dev/null || { echo "cannot run as \`$1\`: this host has no setpriv (util-linux)" >&2; exit 126; }
    printf '%s' "$2" | setpriv --reuid="$1" --regid="$dr_group" --init-groups --reset-env sh -c "$dr_reader"
  else
    printf '%s' "$2" | sudo -n -H -u "$1" sh -c "$dr_reader"
  fi
}
