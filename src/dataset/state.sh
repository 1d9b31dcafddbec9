# The folder in which a restore writes down how far it is, and the lock that its jobs take.
dr_state=${DR_FOLDER:-/var/lib/dr-plan/$DR_RUN/$DR_STEP.data}
dr_alone() {
  mkdir -p -- "$dr_state"
  chmod 700 -- "$dr_state"
  exec 7>"$dr_state/lock"
  flock -w 10 7 || dr_fail busy "another job of this step is at work (it holds $dr_state/lock)"
}
dr_words_of_mark() { head -n 1 "$dr_state/mark" 2>/dev/null || :; }
dr_mark() {
  printf '%s state=%s\n' "$DR_MARK" "$1" >"$dr_state/mark.new"
  mv -f -- "$dr_state/mark.new" "$dr_state/mark"
  sync -f "$dr_state"
}
