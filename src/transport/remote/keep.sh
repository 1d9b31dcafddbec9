# Keeps one job: runs it in a session of its own, ends it at its deadline, writes down how it ended. The shell that
# got this text ends at once and leaves the keeper behind as the only one of its session.
# fd 9 is the lock that the job inherits; fd 8 the keeper's own.
unset dr_text
dr_dir=$1 dr_seconds=$2
dr_keep() {
  exec 8>>"$dr_dir/keeper"
  flock -w 10 8 || exit 98
  cd /
  # The starter may be gone: no reason to stop.
  ( trap '' PIPE; printf kept )
  exec >>"$dr_dir/log" 2>&1
  # `$$` is the shell that is gone, and so the session.
  read -r dr_me dr_rest </proc/self/stat
  dr_late=''
  trap 'dr_late=1' USR1
  if [ -n "$dr_user" ] && ! dr_is "$dr_user"; then
    if dr_is_root; then
      dr_group=$(id -g "$dr_user") || dr_group=''
      set -- setpriv --reuid="$dr_user" --regid="$dr_group" --init-groups --reset-env
    else
      set -- sudo -n -H -u "$dr_user"
    fi
  else
    set --
  fi
  # A shell without a terminal starts what it does not wait for with SIGINT and SIGQUIT ignored, for good. Not so the job.
  if env --default-signal=INT,QUIT true 2>/dev/null; then set -- env --default-signal=INT,QUIT "$@"; fi
  printf '%s' "$dr_script" | setsid "$@" sh -c "$dr_reader" 8>&- &
  dr_pid=$!
  unset dr_script
  dr_stat "$dr_me" && dr_mine=$dr_start
  dr_stat "$dr_pid" || dr_start=0
  printf '%s %s %s %s %s\n' "$dr_me" "$dr_mine" "$$" "$dr_pid" "$dr_start" >"$dr_dir/pids"
  # Once would do, were there no moment between its start and our waiting for it.
  ( sleep "$dr_seconds"; while kill -USR1 "$dr_me"; do sleep 1; done ) >/dev/null 2>&1 8>&- 9>&- &
  wait "$dr_pid"
  dr_status=$?
  # 138 is 128 + SIGUSR1: the wait was interrupted, the job goes on.
  if [ -n "$dr_late" ] && [ "$dr_status" = 138 ]; then
    dr_end_members
    dr_status='124 deadline'
  fi
  # Written over the room that was taken at the start, read back, and only then put in its place.
  printf '%-32s\n' "$dr_status" 1<>"$dr_dir/exit.next"
  read -r dr_back <"$dr_dir/exit.next"
  if [ "$dr_back" = "$dr_status" ]; then
    sync "$dr_dir/exit.next" 2>/dev/null
    mv "$dr_dir/exit.next" "$dr_dir/exit"
  fi
  # The timer goes with its group, and so do we.
  kill -KILL 0
}
dr_keep &
