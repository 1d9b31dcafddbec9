# Waits until the log has more than $DR_FROM bytes, the job does not run any more, or $DR_TICKS rounds have passed; then says how the
# job stands, and gives what is new in the log. The state is looked at first: a log read after the end is whole.
if [ ! -d "$DR_DIRECTORY" ]; then echo absent; exit 0; fi
dr_dir=$(cd -P "$DR_DIRECTORY" && pwd -P)
dr_pause=0.01
while :; do
  dr_state=$(dr_look)
  case $dr_state in running*) ;; *) break ;; esac
  dr_size=0
  if [ -e "$dr_dir/log" ]; then dr_size=$(wc -c <"$dr_dir/log"); fi
  if [ "$dr_size" -gt "$DR_FROM" ] || [ "$DR_TICKS" -le 0 ]; then break; fi
  # Ends at once when the keeper goes.
  if [ -e "$dr_dir/pids" ]; then flock -s -w "$dr_pause" "$dr_dir/keeper" true 2>/dev/null; else sleep "$dr_pause"; fi
  DR_TICKS=$((DR_TICKS - 1))
  case $dr_pause in 0.01) dr_pause=0.03 ;; 0.03) dr_pause=0.1 ;; *) dr_pause=0.25 ;; esac
done
echo "$dr_state"
if [ -e "$dr_dir/log" ]; then tail -c "+$((DR_FROM + 1))" "$dr_dir/log" | head -c 262144; fi
