# Files of configuration: what is staged of them, what was there before, and how each is known again: by its content, its owner and its mode.
dr_work=$dr_state/work
dr_new=$dr_state/new
dr_kept=$dr_state/kept
# The files that were not there before, by name: what is missing in the kept folder may have been lost from it.
dr_absent=$dr_state/absent
dr_tab=$(printf '\t')
# dr_each COMMAND: for every file.
dr_each() {
  while IFS= read -r dr_path; do "$1" "$dr_path"; done <<FILES
$DR_FILES
FILES
}
dr_identity() {
  if [ -L "$1" ]; then echo link
  elif [ ! -e "$1" ]; then echo absent
  elif [ ! -f "$1" ]; then echo other
  else
    dr_sum=$(sha256sum <"$1")
    echo "${dr_sum%% *} $(stat -c '%u:%g %a' -- "$1")"
  fi
}
# What was staged for a path; nothing when nothing was.
dr_wanted() {
  dr_asked=$1 awk -F '\t' '$2 == ENVIRON["dr_asked"] { print $1; exit }' "$dr_state/want" 2>/dev/null || :
}
# One line a file: `ours`, `absent`, `foreign`, `link` or `other`, and its path.
dr_stands_at() {
  dr_seen=$(dr_identity "$1")
  case "$dr_seen" in
    link | other | absent) ;;
    *) if [ "$dr_seen" = "$(dr_wanted "$1")" ]; then dr_seen=ours; else dr_seen=foreign; fi ;;
  esac
  echo "$dr_seen $1"
}
dr_may_replace() {
  dr_all=$(dr_each dr_stands_at)
  dr_wrong=$(printf '%s\n' "$dr_all" | grep -E '^(link|other) ' | head -n 1 || :)
  if [ -n "$dr_wrong" ]; then dr_fail refused "${dr_wrong#* } is no plain file: list the file itself"; fi
  dr_wrong=$(printf '%s\n' "$dr_all" | grep '^foreign ' | head -n 1 || :)
  if [ -n "$dr_wrong" ] && [ "$DR_REPLACE" != 1 ]; then
    dr_fail refused "${dr_wrong#* } is there and this run did not restore it; \`replace: true\` sets it aside and keeps it"
  fi
}
# dr_place FROM PATH: a copy of a file in its place, by a rename. Its name until then is one that no service reads.
dr_place() {
  (umask 022 && mkdir -p -- "${2%/*}/")
  dr_beside=${2%/*}/.${2##*/}.dr-$DR_SHORT
  cp -a -- "$1" "$dr_beside"
  sync "$dr_beside"
  mv -fT -- "$dr_beside" "$2"
  sync -f "$2"
}
