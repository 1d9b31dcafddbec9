# Waits until the log has more than $DR_FROM bytes, the job does not run any more, or $DR_TICKS rounds have passed; then says how the
# job stands, and gives what is new in the log. The state is looked at first: a log read after the end is whole.
if [ ! -d "$DR_DIRECTORY" ]; then echo absent; exit 0; fi
dr_dir=$(cd -P "$DR_DIRECTORY" && pwd -P)
# Whether there is more is asked many times a second, so it starts no program: fd 7 stands behind what was given before.
if [ "$DR_FROM" -gt 0 ] && [ -e "$dr_dir/log" ]; then
  exec 7<"$dr_dir/log"
  dd bs=1 count=0 skip="$DR_FROM" <&7 2>/dev/null
  dr_more() { IFS= read -r dr_new <&7 || [ -n "$dr_new" ]; }
else
  dr_more() { [ -s "$dr_dir/log" ]; }
fi
dr_pause=0.01
dr_state=$(dr_look)
while :; do
  case $dr_state in running*) ;; *) break ;; esac
  if dr_more || [ "$DR_TICKS" -le 0 ]; then break; fi
  if [ ! -e "$dr_dir/pids" ]; then
    sleep "$dr_pause"
    dr_state=$(dr_look)
  # Ends at once when the keeper goes; as long as it is there it runs.
  elif flock -s -w "$dr_pause" "$dr_dir/keeper" true 2>/dev/null; then
    dr_state=$(dr_look)
    # What works on without its keeper has nobody whose end could be waited for.
    case $dr_state in running*) sleep "$dr_pause" ;; esac
  fi
  DR_TICKS=$((DR_TICKS - 1))
  case $dr_pause in 0.01) dr_pause=0.03 ;; 0.03) dr_pause=0.1 ;; *) dr_pause=0.25 ;; esac
done
case $dr_state in running*) dr_since_start ;; *) echo "$dr_state" ;; esac
if [ -e "$dr_dir/log" ]; then tail -c "+$((DR_FROM + 1))" "$dr_dir/log" | head -c 262144; fi
