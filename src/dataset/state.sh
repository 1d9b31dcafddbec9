# The folder in which a restore writes down how far it is, and the lock that its jobs take.
dr_state=${DR_FOLDER:-/var/lib/dr-plan/$DR_RUN/$DR_STEP.data}
dr_alone() {
  mkdir -p -- "$dr_state"
  chmod 700 -- "$dr_state"
  exec 7>"$dr_state/lock"
  flock -w 10 7 || dr_fail busy "another job of this step is at work (it holds $dr_state/lock)"
}
dr_words_of_mark() { dr_line=''; { IFS= read -r dr_line <"$dr_state/mark"; } 2>/dev/null || :; printf '%s\n' "$dr_line"; }
# One chain: where nothing ends a script by itself, half a mark must not take the place of a whole one.
dr_mark() {
  printf '%s state=%s\n' "$DR_MARK" "$1" >"$dr_state/mark.new" &&
    mv -f -- "$dr_state/mark.new" "$dr_state/mark" &&
    sync -f "$dr_state"
}
# dr_let_go PATH: lets go of what a swap kept there. That it is so is on the disk before the first file of it goes: half of it must never be
# put back for the whole.
dr_let_go() {
  dr_mark released
  rm -rf -- "$1.gone"
  if [ -e "$1" ]; then
    mv -T -- "$1" "$1.gone"
    sync -f "$1.gone"
    rm -rf -- "$1.gone"
    dr_fact released now
  else
    dr_fact released already
  fi
}
