# A tree of files: where it lives, where it is staged, and what is written down about it.
dr_work=$DR_PATH.dr-$DR_SHORT
dr_kept=$DR_PATH.pre-$DR_SHORT
# A folder is known again by its number on its disk and the time it was made, whatever its name is. The number of the disk itself
# may be another one after a boot.
dr_number() { stat -c %i:%W -- "$1" 2>/dev/null || echo none; }
dr_root() { cat "$dr_state/root" 2>/dev/null || echo /nonexistent; }
# dr_stands: what stands at the live path: absent, empty, ours, full, link, other.
dr_stands() {
  if [ -L "$DR_PATH" ]; then echo link
  elif [ ! -e "$DR_PATH" ]; then echo absent
  elif [ ! -d "$DR_PATH" ]; then echo other
  elif [ "$(dr_number "$DR_PATH")" = "$(cat "$dr_state/tree" 2>/dev/null || echo unknown)" ]; then echo ours
  elif [ -z "$(ls -A -- "$DR_PATH" | head -n 1)" ]; then echo empty
  else echo full
  fi
}
dr_may_replace() {
  case "$(dr_stands)" in
    absent | empty) ;;
    link) dr_fail refused "$DR_PATH is a symbolic link to $(readlink -- "$DR_PATH"): name the folder itself" ;;
    other) dr_fail refused "$DR_PATH is no folder" ;;
    *) if [ "$DR_REPLACE" != 1 ]; then
        dr_fail refused "$DR_PATH holds files that this run did not restore; \`replace: true\` sets them aside and keeps them"
      fi ;;
  esac
}
