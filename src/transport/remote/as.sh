# Runs a text in a new shell as another user; the text travels through a pipe, never as an argument.
dr_reader='dr_text=$(cat); exec </dev/null; set -eu; eval "$dr_text"'
dr_as() {
  if [ "$1" = "$(id -un)" ]; then
    printf '%s' "$2" | sh -c "$dr_reader"
    return
  fi
  dr_group=$(id -g "$1") || exit 126
  if [ "$(id -u)" = 0 ]; then
    command -v setpriv >/dev/null || { echo "cannot run as \`$1\`: this host has no setpriv (util-linux)" >&2; exit 126; }
    printf '%s' "$2" | setpriv --reuid="$1" --regid="$dr_group" --init-groups --reset-env sh -c "$dr_reader"
  else
    printf '%s' "$2" | sudo -n -H -u "$1" sh -c "$dr_reader"
  fi
}
