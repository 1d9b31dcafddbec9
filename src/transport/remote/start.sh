# Starts the job once. The lock is taken before anything is looked at, and the job inherits it: of two starters one
# finds it held, or finds `started`.
set -eu
umask 077
mkdir -p "$DR_DIRECTORY"
dr_dir=$(cd -P "$DR_DIRECTORY" && pwd -P)
chmod 700 "$dr_dir/../.." "$dr_dir/.." "$dr_dir"
exec 9>>"$dr_dir/lock"
dr_tries=0
until flock -n 9; do
  # Held by the job, or for a moment by somebody who looks.
  if [ -e "$dr_dir/started" ]; then echo already; exit 0; fi
  dr_tries=$((dr_tries + 1))
  if [ "$dr_tries" -gt 200 ]; then echo "another starter has held $dr_dir/lock for 10 s" >&2; exit 75; fi
  sleep 0.05
done
if [ -e "$dr_dir/started" ]; then echo already; exit 0; fi
printf '%s\n' "$DR_SHOWN" >"$dr_dir/script"
: >"$dr_dir/log"
: >"$dr_dir/keeper"
# Its room is taken now, so that the true status can be told even when the disk is full by then.
printf '%-32s\n' unfinished >"$dr_dir/exit.next"
dr_boot
dr_uptime
printf '%s %s\n' "$dr_boot_id" "$dr_now" >"$dr_dir/started"
# That it was started must be known after a crash of the host; the words in it may be lost then, for any other boot
# than the one they name says the same.
sync "$dr_dir" "$dr_dir/.."
# The end of this substitution is the keeper's sign that it has the secrets and its own lock.
dr_begin='dr_text=$(cat); case $dr_text in *"#end") ;; *) exit 97 ;; esac; exec </dev/null; eval "$dr_text"'
dr_sign=$(printf '%s' "$dr_keeper_text" | setsid sh -c "$dr_begin" dr-plan "$dr_dir" "$DR_SECONDS" 3<&- 2>>"$dr_dir/log")
if [ "$dr_sign" != kept ]; then
  echo "the job did not come up: $(tail -c 500 "$dr_dir/log")" >&2
  exit 70
fi
echo started
