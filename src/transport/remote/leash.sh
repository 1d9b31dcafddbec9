# Runs $dr_script as long as somebody holds the other end of fd 3. Without a listener it is ended: first asked, after a
# second made to. Nothing more is ever written to fd 3 during a leashed request, so any news from it means the end.
unset dr_text
(
  # A text of ours needs no shell of its own where it needs no other user.
  if [ -n "$dr_user" ] && { [ -z "$dr_ours" ] || ! dr_is "$dr_user"; }; then
    dr_as "$dr_user" "$dr_script"
  else
    set -eu
    eval "$dr_script"
  fi
) 3<&- &
dr_job=$!
( trap '' TERM; read -r dr_news <&3; kill -TERM -$$; sleep 1; kill -KILL -$$ ) >/dev/null 2>&1 &
dr_watch=$!
wait "$dr_job"
dr_status=$?
# It must be gone before the end is told: it would eat the first byte of the next request.
kill -KILL "$dr_watch" 2>/dev/null
wait "$dr_watch" 2>/dev/null
exit "$dr_status"
