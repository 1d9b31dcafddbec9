# What the scripts about detached jobs share. A job's folder holds
#   script   what it runs, without secrets      started  "BOOT UPTIME": when it began, in which boot
#   lock     held by the job and its children   keeper   held by its keeper alone
#   pids     "KEEPER START SESSION JOB START"   log      standard output and error
#   exit     "STATUS [deadline]", renamed into place when it has ended
dr_uptime() { IFS='. ' read -r dr_now dr_rest </proc/uptime; }
dr_boot() { read -r dr_boot_id </proc/sys/kernel/random/boot_id; }

# Session and start time of a process; 1 when it is gone or only waits to be reaped.
dr_stat() {
  { read -r dr_line <"/proc/$1/stat"; } 2>/dev/null || return 1
  dr_line=${dr_line##*) }
  set -- $dr_line
  [ $# -ge 20 ] || return 1
  dr_session=$4
  shift 19
  dr_start=$1
  case $dr_line in [ZX]*) return 1 ;; esac
}

# Nobody holds this lock. Lookers share it: they are not in each other's way.
dr_free() { [ ! -e "$1" ] || flock -s -n "$1" true 2>/dev/null; }

# Whether the number still means the process that was written down.
dr_same() { [ -n "$1" ] && dr_stat "$1" && [ "$dr_start" = "$2" ]; }

# The processes of a job: its session and all who inherited its lock, without its keeper's session and without us.
dr_members() {
  exec 8>&- 9>&-
  dr_keeper='' dr_keeper_start='' dr_apart='' dr_leader='' dr_leader_start=''
  { read -r dr_keeper dr_keeper_start dr_apart dr_leader dr_leader_start <"$dr_dir/pids"; } 2>/dev/null
  # A number that was given to another process since says nothing about a session.
  if [ -n "$dr_leader" ] && dr_stat "$dr_leader" && [ "$dr_start" != "$dr_leader_start" ]; then dr_leader=''; fi
  dr_found=' '
  if [ -n "$dr_leader" ]; then
    for dr_path in /proc/[0-9]*; do
      dr_pid=${dr_path#/proc/}
      if dr_stat "$dr_pid" && [ "$dr_session" = "$dr_leader" ]; then dr_found="$dr_found$dr_pid "; fi
    done
  fi
  for dr_path in $(find /proc/[0-9]*/fd -maxdepth 1 -lname "$dr_dir/lock" 2>/dev/null); do
    dr_pid=${dr_path#/proc/}
    dr_pid=${dr_pid%%/*}
    case $dr_found in *" $dr_pid "*) continue ;; esac
    dr_stat "$dr_pid" || continue
    if [ "$dr_session" != "${dr_apart:-none}" ] && [ "$dr_session" != "$$" ]; then dr_found="$dr_found$dr_pid "; fi
  done
  echo $dr_found
}

# Ends all members: asks each once, waits up to five seconds, then makes them. Returns when none is left.
dr_end_members() {
  dr_uptime
  dr_limit=$((dr_now + 5))
  dr_asked=' '
  while dr_all=$(dr_members) && [ -n "$dr_all" ]; do
    for dr_each in $dr_all; do
      if [ "$dr_now" -ge "$dr_limit" ]; then
        kill -KILL "$dr_each" 2>/dev/null
      else
        case $dr_asked in *" $dr_each "*) continue ;; esac
        dr_asked="$dr_asked$dr_each "
        # A stopped process cannot hear that it should end.
        kill -TERM "$dr_each" 2>/dev/null
        kill -CONT "$dr_each" 2>/dev/null
      fi
    done
    for dr_each in $dr_all; do
      while dr_stat "$dr_each"; do
        sleep 0.05
        dr_uptime
        if [ "$dr_now" -ge "$dr_limit" ]; then break; fi
      done
    done
  done
}

# Says that the job in $dr_dir runs, and since how many seconds.
dr_since_start() {
  dr_then='' dr_since=''
  { read -r dr_then dr_since <"$dr_dir/started"; } 2>/dev/null
  dr_uptime
  echo running $((dr_now - ${dr_since:-$dr_now}))
}

# Says in a line how the job in $dr_dir stands.
dr_look() {
  if [ ! -e "$dr_dir/started" ]; then
    # A starter that has the lock is about to write it.
    if [ ! -e "$dr_dir/lock" ] || flock -s -w 1 "$dr_dir/lock" true; then
      if [ ! -e "$dr_dir/started" ]; then echo absent; return; fi
    elif [ ! -e "$dr_dir/started" ]; then
      echo running 0
      return
    fi
  fi
  if dr_exited; then return; fi
  dr_then='' dr_since=''
  read -r dr_then dr_since <"$dr_dir/started"
  dr_boot
  if [ "$dr_then" != "$dr_boot_id" ]; then echo died boot; return; fi
  if ! dr_free "$dr_dir/keeper"; then dr_since_start; return; fi
  # The keeper is gone. It may have written the end just now; or its children work on without it.
  if dr_exited; then return; fi
  if dr_free "$dr_dir/lock"; then
    if dr_exited; then return; fi
    echo died killed
  elif [ -n "$(dr_members)" ]; then
    dr_since_start
  elif dr_exited; then
    return
  else
    echo died killed
  fi
}

dr_exited() {
  dr_ended='' dr_how=''
  { read -r dr_ended dr_how <"$dr_dir/exit"; } 2>/dev/null || return 1
  case $dr_ended in '' | *[!0-9]*) return 1 ;; esac
  echo exited "$dr_ended" "$dr_how"
}
