# Words for speaking with the Redis server of this host. The password goes in with the commands, on standard input: an
# argument and an environment can be read by others.
unset REDISCLI_AUTH
dr_state=${DR_FOLDER:-/var/lib/dr-plan/$DR_RUN/$DR_STEP.data}
dr_lf='
'
dr_cli() {
  if [ -n "$DR_SOCKET" ]; then redis-cli -s "$DR_SOCKET" "$@"; else redis-cli -h "$DR_ADDRESS" -p "$DR_PORT" "$@"; fi
}
dr_quoted() {
  case "$1" in
    *[\\\"]*) printf '%s' "$1" | sed 's/[\\"]/\\&/g' ;;
    *) printf '%s' "$1" ;;
  esac
}
# dr_first TEXT: its first line.
dr_first() { printf '%s\n' "${1%%"$dr_lf"*}"; }
# dr_redis [OPTION...]: commands on standard input, their answers on standard output. Status 1, with what was said, when the server
# does not answer or lets nobody in: redis-cli ends with 0 then.
dr_redis() {
  dr_reply=$({
    if [ -n "${DR_SECRET_PASSWORD:-}" ]; then
      if [ -n "$DR_USER" ]; then
        printf 'AUTH "%s" "%s"\n' "$(dr_quoted "$DR_USER")" "$(dr_quoted "$DR_SECRET_PASSWORD")"
      else
        printf 'AUTH "%s"\n' "$(dr_quoted "$DR_SECRET_PASSWORD")"
      fi
    fi
    cat
  } | dr_cli "$@" 2>&1) || :
  if [ -n "${DR_SECRET_PASSWORD:-}" ]; then
    case "$dr_reply" in
      OK) dr_reply='' ;;
      'OK
'*) dr_reply=${dr_reply#OK?} ;;
      'Could not connect'* | Error:*) ;;
      *) dr_reply="NOAUTH $dr_reply" ;;
    esac
  fi
  case "$dr_reply" in
    'Could not connect'* | Error:* | NOAUTH* | '(error) NOAUTH'* | WRONGPASS* | NOPERM* | '(error) NOPERM'*)
      dr_first "$dr_reply"
      return 1 ;;
  esac
  if [ -n "$dr_reply" ]; then printf '%s\n' "$dr_reply"; fi
}
# dr_field NAME: a line of what INFO said; nothing where it did not say it. A dozen of them are asked for each time: no program is
# started for one.
dr_field() {
  set -f
  IFS=$dr_lf
  for dr_line in $dr_info; do
    # A line of INFO ends with a carriage return.
    case "$dr_line" in "$1:"*) dr_line=${dr_line#"$1:"}; printf '%s\n' "${dr_line%[[:cntrl:]]}"; break ;; esac
  done
  unset IFS
  set +f
}
# Keys of all databases, and those that never run out.
dr_count() {
  printf '%s\n' "$dr_info" | awk -F '[=,]' '/^db[0-9]+:keys=/ { keys += $2; stay += $2 - $4 } END { print keys + 0, stay + 0 }'
}
dr_setting() {
  dr_one=$(printf 'CONFIG GET %s\n' "$1" | dr_redis) || return 1
  case "$dr_one" in *"$dr_lf"*) dr_first "${dr_one#*"$dr_lf"}" ;; esac
}
# dr_server: what the server says of itself. Status 1, and why in dr_why.
dr_server() {
  dr_info=$(printf 'INFO everything\n' | dr_redis) || { dr_why=$dr_info; return 1; }
  dr_version=$(dr_field redis_version)
  if [ -z "$dr_version" ]; then dr_why="INFO was answered with: $(dr_first "$dr_info")"; return 1; fi
  dr_pid=$(dr_field process_id)
  dr_keys=$(dr_count)
  dr_keys=${dr_keys%% *}
}
# The places of a step, once the server's folder is known: `dr-plan-RUN` in it holds what is staged and what is kept, so every move is a
# rename within one disk, and nothing but the server's own folder is written to.
dr_places() {
  dr_work=$dr_dir/dr-plan-$DR_SHORT
  dr_staged=$dr_work/staged
  dr_kept=$dr_work/kept
  dr_here=$dr_dir/$dr_appenddir
}
# Settings that outlive the server's answer: while it is stopped for the swap nobody can be asked.
dr_remember() {
  printf '%s\n' "dir $dr_dir" "appenddir $dr_appenddir" "appendfile $dr_appendfile" "dump $dr_dbfilename" >"$dr_state/settings.new"
  mv -f -- "$dr_state/settings.new" "$dr_state/settings"
}
# dr_remembered NAME FILE: what stands behind the name there.
dr_remembered() {
  while IFS= read -r dr_line; do
    case "$dr_line" in "$1 "*) printf '%s\n' "${dr_line#"$1 "}"; return 0 ;; esac
  done 2>/dev/null <"$dr_state/$2" || :
}
dr_recall() {
  dr_dir=$(dr_remembered dir settings)
  dr_appenddir=$(dr_remembered appenddir settings)
  dr_appendfile=$(dr_remembered appendfile settings)
  dr_dbfilename=$(dr_remembered dump settings)
  if [ -z "$dr_dir" ] || [ -z "$dr_appenddir" ]; then return 1; fi
  dr_places
}
# dr_words_of_mark FILE: its first line; an empty one where there is none.
dr_words_of_mark() { dr_line=''; { IFS= read -r dr_line <"$1"; } 2>/dev/null || :; printf '%s\n' "$dr_line"; }
# dr_mark STATE: what stands in the work folder, and whose it is.
dr_mark() {
  # One chain: where nothing ends a script by itself, half a mark must not take the place of a whole one.
  printf '%s state=%s\n' "$DR_MARK" "$1" >"$dr_work/mark.new" &&
    mv -f -- "$dr_work/mark.new" "$dr_work/mark" &&
    sync -f "$dr_work"
}
# One part of a restore at a time, whatever attempt it belongs to. (fd 9 belongs to whoever keeps this job.)
dr_alone() {
  mkdir -p -- "$dr_state"
  chmod 700 -- "$dr_state"
  exec 7>"$dr_state/lock"
  flock -w 10 7 || dr_fail busy "another job of this step is at work (it holds $dr_state/lock)"
}
dr_programs() {
  for dr_one in redis-server redis-cli redis-check-rdb; do
    command -v "$dr_one" >/dev/null || dr_fail not_found "this host has no \`$dr_one\`: add the package redis-server"
  done
  for dr_one in systemctl setpriv flock awk; do
    command -v "$dr_one" >/dev/null || dr_fail not_found "this host has no \`$dr_one\`"
  done
}

# A server of our own over the staged data: on a socket in a folder of root's, without any of the host's settings. It is gone when this
# script ends; one that was left by a script that was killed is ended by the next.
dr_scratch=''
dr_scratch_folder=/run/dr-plan-$DR_SHORT-$DR_STEP
dr_scratch_cli() { redis-cli -s "$dr_scratch_folder/s" "$@" 2>/dev/null; }
dr_scratch_end() {
  dr_one=${dr_scratch:-$(cat "$dr_scratch_folder/pid" 2>/dev/null || :)}
  dr_scratch=''
  if [ -n "$dr_one" ] && [ "$(readlink "/proc/$dr_one/cwd" 2>/dev/null || :)" = "$dr_staged" ]; then
    kill -KILL "$dr_one" 2>/dev/null || :
    dr_count_down=100
    while [ -d "/proc/$dr_one/fd" ] && [ -n "$(readlink "/proc/$dr_one/cwd" 2>/dev/null || :)" ] && [ "$dr_count_down" -gt 0 ]; do
      dr_count_down=$((dr_count_down - 1))
      sleep 0.1
    done
  fi
  rm -rf -- "$dr_scratch_folder"
}
# dr_scratch_begin USER GROUP: loads the staged data, AOF on, and says how far it is.
dr_scratch_begin() {
  dr_scratch_end
  mkdir -m 700 -- "$dr_scratch_folder"
  chown "$1:$2" -- "$dr_scratch_folder"
  dr_at_end dr_scratch_end
  (cd / && exec setpriv --reuid "$1" --regid "$2" --clear-groups redis-server -) >"$dr_work/scratch.log" 2>&1 7>&- 9>&- <<DR_SCRATCH &
port 0
unixsocket $dr_scratch_folder/s
unixsocketperm 700
daemonize no
dir "$(dr_quoted "$dr_staged")"
appendonly yes
appenddirname "$(dr_quoted "$dr_appenddir")"
appendfilename "$(dr_quoted "$dr_appendfile")"
appendfsync no
auto-aof-rewrite-percentage 0
save ""
DR_SCRATCH
  dr_scratch=$!
  echo "$dr_scratch" >"$dr_scratch_folder/pid"
  while :; do
    kill -0 "$dr_scratch" 2>/dev/null ||
      dr_fail damaged "Redis does not load the backup: $(grep -E ' # |FATAL|rror' "$dr_work/scratch.log" | grep -v overcommit | tail -n 3)"
    dr_info=$(printf 'INFO everything\n' | dr_scratch_cli || :)
    case "$(dr_field loading)" in
      0) break ;;
      1) dr_progress restore "$(dr_field loading_loaded_bytes)" "$(dr_field loading_total_bytes)" ;;
    esac
    sleep 0.1
  done
}
# Answers go into a file, each a line of hex, so that they are there when the orchestrator comes back later. Questions come as lines
# `DATABASE COMMAND`.
dr_answer_all() {
  rm -f -- "$dr_work/answers" "$dr_work/answers.new"
  : >"$dr_work/answers.new"
  printf '%s' "$DR_QUESTIONS" | while IFS=' ' read -r dr_number dr_command; do
    # A command that forgets `SELECT` would ask another database than the one before it left.
    printf 'SELECT %s\n%s\n' "$dr_number" "$dr_command" | dr_scratch_cli --no-raw | sed 1d | head -c 65536 |
      od -An -v -tx1 | tr -d ' \n' >>"$dr_work/answers.new"
    echo >>"$dr_work/answers.new"
  done
  printf '%s' "$DR_QUESTIONS" >"$dr_work/questions"
  mv -f -- "$dr_work/answers.new" "$dr_work/answers"
}
# Ends it in order: what it has written is on disk then.
dr_scratch_close() {
  printf 'SHUTDOWN NOSAVE\n' | dr_scratch_cli >/dev/null || :
  dr_count_down=600
  while kill -0 "$dr_scratch" 2>/dev/null; do
    dr_count_down=$((dr_count_down - 1))
    if [ "$dr_count_down" -le 0 ]; then dr_fail other 'the server over the staged data does not end'; fi
    sleep 0.1
  done
  wait "$dr_scratch" 2>/dev/null || :
  dr_scratch=''
}

# dr_stop: the service is stopped, and nothing answers any more. Its files are not touched before.
dr_stop() {
  dr_one=''
  if dr_server; then dr_one=$dr_pid; fi
  systemctl stop "$DR_SERVICE" >"$dr_state/said" 2>&1 || dr_fail exit_code "stopping $DR_SERVICE: $(dr_words "$dr_state/said")"
  dr_count_down=150
  while dr_server || { [ -n "$dr_one" ] && kill -0 "$dr_one" 2>/dev/null; }; do
    dr_count_down=$((dr_count_down - 1))
    if [ "$dr_count_down" -le 0 ]; then
      dr_fail refused "a Redis server still answers after the service $DR_SERVICE was stopped: something else runs it; name its unit with \`service:\`"
    fi
    sleep 0.2
  done
}
# dr_start: the service runs and has loaded its data. Status 1, and why in dr_why.
dr_start() {
  if ! systemctl start "$DR_SERVICE" >"$dr_state/said" 2>&1; then
    dr_why="starting $DR_SERVICE: $(dr_words "$dr_state/said")"
    return 1
  fi
  dr_quiet=0
  while :; do
    if dr_server; then
      if [ "$(dr_field loading)" = 0 ]; then return 0; fi
      dr_progress swap "$(dr_field loading_loaded_bytes)" "$(dr_field loading_total_bytes)"
      dr_quiet=0
    fi
    dr_quiet=$((dr_quiet + 1))
    if [ "$dr_quiet" -ge 150 ]; then
      dr_why="$DR_SERVICE was started and does not answer: ${dr_why:-}"
      return 1
    fi
    sleep 0.2
  done
}
# dr_set_aside FILE: what stands under a live name goes to what is kept; a second one of that name (a server that was started half way) beside it.
dr_set_aside() {
  if [ ! -e "$1" ]; then return 0; fi
  dr_to=$dr_kept/${1##*/}
  dr_number=1
  while [ -e "$dr_to" ]; do
    dr_to=$dr_kept/${1##*/}.late-$dr_number
    dr_number=$((dr_number + 1))
  done
  mv -- "$1" "$dr_to"
}
# dr_put_back: the restored data is staged again, with whatever was written into it since; what was kept is live again. Status 1, and nothing
# further is moved, when something does not come about: a clean-up goes on after errors.
dr_put_back() {
  case "$(dr_words_of_mark "$dr_here/dr-plan.mark")" in
    "$DR_OURS "*)
      if [ ! -e "$dr_staged/$dr_appenddir" ]; then
        mkdir -p -- "$dr_staged" || return 1
        mv -T -- "$dr_here" "$dr_staged/$dr_appenddir" || return 1
      fi ;;
  esac
  if [ -e "$dr_kept/$dr_appenddir" ]; then
    # Nothing of ours: a server that was started in between made it.
    if [ -e "$dr_here" ]; then
      rm -rf -- "$dr_work/between" || return 1
      mkdir -- "$dr_work/between" || return 1
      mv -- "$dr_here" "$dr_work/between/" || return 1
    fi
    mv -T -- "$dr_kept/$dr_appenddir" "$dr_here" || return 1
  fi
  if [ -e "$dr_kept/$dr_dbfilename" ]; then mv -f -- "$dr_kept/$dr_dbfilename" "$dr_dir/$dr_dbfilename" || return 1; fi
  sync -f "$dr_dir"
}
