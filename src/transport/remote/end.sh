# Ends the job and all that it started, and waits for its keeper to write down how.
if [ ! -d "$DR_DIRECTORY" ]; then exit 0; fi
dr_dir=$(cd -P "$DR_DIRECTORY" && pwd -P)
if [ ! -e "$dr_dir/started" ] || dr_exited >/dev/null; then exit 0; fi
dr_end_members
dr_round=0
until dr_exited >/dev/null || dr_free "$dr_dir/keeper"; do
  dr_round=$((dr_round + 1))
  if [ "$dr_round" = 60 ]; then
    { read -r dr_keeper dr_keeper_start dr_rest <"$dr_dir/pids"; } 2>/dev/null || break
    if dr_same "$dr_keeper" "$dr_keeper_start"; then kill -KILL "$dr_keeper"; fi
  fi
  # The job may have started another child while it was being ended.
  dr_end_members
  sleep 0.05
done
exit 0
