# Words to speak with (see recipe.rs), and an environment in which nothing of the host's leaks into a client.
umask 077
LC_ALL=C
export LC_ALL
dr_cleanups=''
dr_said() { tr '\n\r\t' '   ' | tail -c 1500; }
dr_fail() { printf 'DR-FAIL %s %s\n' "$1" "$(printf '%s' "$2" | dr_said)"; exit 65; }
dr_note() { printf 'DR-NOTE %s\n' "$(printf '%s' "$1" | dr_said)"; }
dr_fact() { printf 'DR-FACT %s %s\n' "$1" "$2"; }
dr_progress() { printf 'DR-PROGRESS %s %s %s\n' "$1" "$2" "$3"; }
# The last words of a program, for an error message.
dr_words() { tail -n 5 "$1" 2>/dev/null || :; }
dr_finish() {
  dr_status=$?
  trap - EXIT
  set +e
  for dr_one in $dr_cleanups; do "$dr_one"; done
  exit "$dr_status"
}
trap dr_finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
dr_at_end() { dr_cleanups="$1 $dr_cleanups"; }
dr_size() { stat -c %s -- "$1" 2>/dev/null || echo 0; }
# dr_watch SECONDS COMMAND...: says how far it is, again and again, until dr_unwatch. It keeps no lock open (fd 7 ours, fd 9 the
# job keeper's), and its sleep goes with it: a job whose last process lingers looks as if it still ran.
dr_watcher=''
dr_watch() {
  (
    dr_nap=''
    trap 'kill "$dr_nap" 2>/dev/null; exit 0' TERM
    dr_pause=$1
    shift
    while :; do
      "$@" || :
      sleep "$dr_pause" &
      dr_nap=$!
      wait "$dr_nap"
    done
  ) 7>&- 9>&- 2>/dev/null &
  dr_watcher=$!
}
dr_report_file() { dr_progress "$1" "$(dr_size "$2")" "$3"; }
# dr_watch_file PHASE FILE TOTAL: reports a growing file.
dr_watch_file() { dr_watch 1 dr_report_file "$@"; }
dr_unwatch() {
  if [ -n "$dr_watcher" ]; then
    # A signal that comes before the watcher is ready for it is lost: it is asked until it is gone.
    dr_asked=0
    while kill "$dr_watcher" 2>/dev/null; do
      dr_asked=$((dr_asked + 1))
      if [ "$dr_asked" -gt 200 ]; then kill -KILL "$dr_watcher" 2>/dev/null || :; fi
      sleep 0.02
    done
    wait "$dr_watcher" 2>/dev/null || :
    dr_watcher=''
  fi
}
dr_at_end dr_unwatch
