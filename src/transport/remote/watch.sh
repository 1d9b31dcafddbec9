# Waits until the log has more than $DR_FROM bytes (and a tenth of a second more), the job does not run any more, or $DR_TICKS rounds have
# passed; then says how the job stands, and gives what is new in the log. The state is looked at first: a log read after the end is whole.
if [ ! -d "$DR_DIRECTORY" ]; then echo absent; exit 0; fi
dr_dir=$(cd -P "$DR_DIRECTORY" && pwd -P)
# Most jobs say nothing until they end: that is seen without starting a program.
dr_length=0
dr_more() {
  [ -s "$dr_dir/log" ] || return 1
  if [ "$DR_FROM" = 0 ]; then return 0; fi
  dr_length=$(wc -c <"$dr_dir/log")
  [ "$dr_length" -gt "$DR_FROM" ]
}
dr_heard=''
dr_pause=0.01
dr_state=$(dr_look)
while :; do
  case $dr_state in running*) ;; *) break ;; esac
  if [ "$DR_TICKS" -le 0 ] || [ -n "$dr_heard" ]; then break; fi
  # Where one line comes there are often more, or the end: a moment is given to them, and a question for each is spared. Not where there is
  # more than one answer holds.
  if dr_more; then
    dr_heard=1 dr_pause=0.1
    if [ "$dr_length" -gt $((DR_FROM + 262144)) ]; then break; fi
  fi
  if [ ! -e "$dr_dir/pids" ]; then
    sleep "$dr_pause"
    dr_state=$(dr_look)
  # Ends at once when the keeper goes; as long as it is there the job runs.
  elif flock -s -w "$dr_pause" "$dr_dir/keeper" true 2>/dev/null; then
    dr_state=$(dr_look)
    # What works on without its keeper has nobody whose end could be waited for.
    case $dr_state in running*) sleep "$dr_pause" ;; esac
  elif [ $? != 1 ]; then
    # It did not wait.
    sleep "$dr_pause"
    dr_state=$(dr_look)
  fi
  DR_TICKS=$((DR_TICKS - 1))
  case $dr_pause in 0.01) dr_pause=0.03 ;; 0.03) dr_pause=0.1 ;; *) dr_pause=0.25 ;; esac
done
case $dr_state in running*) dr_since_start ;; *) echo "$dr_state" ;; esac
if [ -n "$dr_heard" ] || dr_more; then tail -c "+$((DR_FROM + 1))" "$dr_dir/log" | head -c 262144; fi
