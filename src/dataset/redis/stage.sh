# Loads a backup into a server of our own over a new append-only directory beside the live one. The live server is only asked.
#
# A dump that is laid into the folder of a server with `appendonly yes` is not read: the server starts from its append-only files, or empty, and writes
# over the dump. So the RDB becomes the base of a new append-only directory, which is what the live server will start from.
dr_phase prepare
dr_alone
dr_programs
dr_server || dr_fail unreachable "the Redis server does not answer: $dr_why"
case "$dr_version" in
  [1-6].*) dr_fail refused "the Redis server is version $dr_version; this needs 7.0 or newer (several append-only files)" ;;
esac
if [ "$(dr_field cluster_enabled)" = 1 ]; then dr_fail refused 'the Redis server is a node of a cluster: its slots are not restored by this version'; fi
if [ "$(dr_field role)" != master ]; then
  dr_fail refused "the Redis server is a replica of $(dr_field master_host): restore on the master"
fi
if [ "$(dr_field loading)" != 0 ]; then dr_fail busy 'the Redis server is still loading'; fi
for dr_one in dir appenddirname appendfilename dbfilename appendonly maxmemory maxmemory-policy; do
  dr_value=$(dr_setting "$dr_one") || dr_fail denied "the Redis server does not tell its setting $dr_one: $dr_value"
  case "$dr_one" in
    dir) dr_dir=$dr_value ;;
    appenddirname) dr_appenddir=$dr_value ;;
    appendfilename) dr_appendfile=$dr_value ;;
    dbfilename) dr_dbfilename=$dr_value ;;
    appendonly) dr_aof=$dr_value ;;
    maxmemory) dr_maxmemory=$dr_value ;;
    maxmemory-policy) dr_policy=$dr_value ;;
  esac
done
case "$dr_dir" in /?*) ;; *) dr_fail refused "the Redis server's folder is \`$dr_dir\`" ;; esac
for dr_one in "$dr_appenddir" "$dr_appendfile" "$dr_dbfilename"; do
  case "$dr_one" in '' | .* | */*) dr_fail refused "the Redis server calls a file \`$dr_one\`" ;; esac
done
if [ "$dr_aof" != yes ]; then
  dr_fail refused 'the Redis server keeps no append-only file: write `appendonly yes` into its configuration and restart it first'
fi
# Switched on in the running server alone, it would be off after the next start, and the data with it.
dr_config=$(dr_field config_file)
if [ -n "$dr_config" ]; then
  dr_written=$(awk '{ word = tolower($1); gsub(/"/, "", $2) } word == "appendonly" { value = tolower($2) } word == "include" { more = 1 } END { print (value == "" ? "no" : value) (more ? " more" : "") }' "$dr_config")
  case "$dr_written" in
    yes*) ;;
    *more) dr_note "$dr_config includes other files: whether they say \`appendonly yes\` shows at the start" ;;
    *) dr_fail refused "the running server has \`appendonly yes\`, but $dr_config does not say so: it would start without its data" ;;
  esac
fi
dr_places
dr_live=$(dr_words_of_mark "$dr_here/dr-plan.mark")
case "$dr_live" in
  "$DR_MARK state=live"*) dr_fail refused 'the server holds this backup already, restored by this step' ;;
  *)
    if [ "$dr_keys" != 0 ] && [ "$DR_REPLACE" != 1 ]; then
      dr_fail refused "the Redis server holds $dr_keys key(s) that this run did not restore; \`replace: true\` sets them aside and keeps them"
    fi ;;
esac
if [ -e "$dr_work" ]; then
  dr_theirs=$(dr_words_of_mark "$dr_work/mark")
  case "$dr_theirs" in
    "$DR_OURS state=closing"* | "$DR_OURS "*' state=closing') dr_fail refused "the swap of an earlier backup is half way: $dr_theirs" ;;
    "$DR_OURS "*) ;;
    # A moment before a crash: made by us and not yet marked. Its name holds this run's id.
    '') if [ -e "$dr_kept" ]; then dr_fail refused "$dr_work carries no mark of this step"; fi ;;
    *) dr_fail refused "$dr_work was not made by this step: $dr_theirs" ;;
  esac
  if [ -n "$(ls -A -- "$dr_kept" 2>/dev/null)" ]; then dr_fail refused "$dr_kept holds what an earlier swap kept"; fi
  dr_scratch_end
  # The bytes that were fetched already may be the beginning of the right ones.
  find "$dr_work" -mindepth 1 -maxdepth 1 ! -name 'stored-*' ! -name mark -exec rm -rf -- {} +
fi
dr_need=$((DR_BYTES / 1024 * 3 + 65536))
dr_has=$(dr_free "$dr_dir")
if [ "$dr_has" -lt "$dr_need" ]; then
  dr_fail other "no room: $dr_dir has $dr_has kB free, and three times the backup and some are $dr_need kB"
fi
dr_user=$(stat -c %u "/proc/$dr_pid" 2>/dev/null) || dr_fail refused "the server's process $dr_pid cannot be seen on this host: does it run in a container?"
dr_group=$(stat -c %g "/proc/$dr_pid")
# The server's own user must come through to what is staged; what is in it is closed.
mkdir -p -m 711 -- "$dr_work"
chmod 711 -- "$dr_work"
dr_mark staging
dr_remember
dr_forget() { dr_gpg_forget "$dr_work/opened"; rm -f -- "$dr_work"/opened*; }
dr_forget
dr_at_end dr_forget

dr_obtain "$dr_work"

dr_phase inspect
if [ "$dr_form" != rdb ]; then
  dr_fail damaged "what is inside the backup is no Redis RDB file: $dr_form ($(head -c 16 <"$dr_dump" | od -An -tx1 | tr -d '\n'))"
fi
dr_watch 1 dr_report_file inspect "$dr_dump" "$(dr_size "$dr_dump")"
if ! redis-check-rdb "$dr_dump" >"$dr_work/check" 2>&1; then
  dr_unwatch
  if grep -q "Can't handle RDB format version" "$dr_work/check"; then
    dr_fail refused "the backup was made by a newer Redis than this host has ($dr_version): $(grep "RDB format version" "$dr_work/check" | head -n 1)"
  fi
  dr_fail damaged "the RDB file is cut or damaged: $(grep -A 2 -e 'ERROR' "$dr_work/check" | tail -n 2)"
fi
dr_unwatch
dr_end=$(sed -n 's/^\[offset \([0-9]*\)\].*RDB looks OK.*/\1/p' "$dr_work/check")
if [ "$dr_end" != "$(dr_size "$dr_dump")" ]; then
  dr_fail damaged "the RDB file ends at byte ${dr_end:-0}, and the backup has $(dr_size "$dr_dump")"
fi
dr_wanted=$(sed -n 's/^\[info\] \([0-9]*\) keys read/\1/p' "$dr_work/check")
dr_expires=$(sed -n 's/^\[info\] \([0-9]*\) expires/\1/p' "$dr_work/check")
dr_over=$(sed -n 's/^\[info\] \([0-9]*\) already expired/\1/p' "$dr_work/check")
if [ -z "$dr_wanted" ] || [ -z "$dr_expires" ]; then dr_fail other "redis-check-rdb did not count: $(dr_words "$dr_work/check")"; fi
if [ "$dr_wanted" = 0 ]; then dr_fail damaged 'the RDB file holds no key: an empty server was backed up'; fi
if grep -q 'checksum disabled' "$dr_work/check"; then dr_note 'the RDB file carries no checksum: only its structure was checked'; fi
if [ "${dr_over:-0}" != 0 ]; then dr_note "$dr_over of $dr_wanted key(s) have run out since the backup (their time to live)"; fi
dr_fact keys "$dr_wanted"
dr_fact expiring "$dr_expires"
dr_fact made_by "$(sed -n "s/.*AUX FIELD redis-ver = '\(.*\)'/\1/p" "$dr_work/check" | head -n 1)"
dr_fact plain_bytes "$(dr_size "$dr_dump")"
dr_memory=$(sed -n "s/.*AUX FIELD used-mem = '\([0-9]*\)'/\1/p" "$dr_work/check" | head -n 1)
dr_memory=${dr_memory:-$(dr_size "$dr_dump")}
if [ "$dr_maxmemory" != 0 ] && [ "$dr_memory" -gt "$dr_maxmemory" ]; then
  dr_fail refused "the data took $dr_memory bytes of memory, and \`maxmemory\` here is $dr_maxmemory ($dr_policy): keys would be thrown out or writes refused"
fi
dr_available=$(awk '/^MemAvailable:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)
if [ -n "$dr_available" ] && [ "$dr_available" -lt "$dr_memory" ]; then
  dr_fail other "no room in memory: the data took $dr_memory bytes, and $dr_available are available"
fi

dr_phase restore
mkdir -m 700 -- "$dr_staged"
mkdir -m 750 -- "$dr_staged/$dr_appenddir"
mv -- "$dr_dump" "$dr_staged/$dr_appenddir/$dr_appendfile.1.base.rdb"
printf 'file %s.1.base.rdb seq 1 type b\n' "$dr_appendfile" >"$dr_staged/$dr_appenddir/$dr_appendfile.manifest"
# It goes with the directory wherever that is moved.
printf '%s state=live\n' "$DR_MARK" >"$dr_staged/$dr_appenddir/dr-plan.mark"
chmod 640 -- "$dr_staged/$dr_appenddir"/*
chown -R "$dr_user:$dr_group" -- "$dr_staged"
printf '%s\n' "keys $dr_wanted" "user $dr_user" "group $dr_group" >"$dr_work/expected"
dr_scratch_begin "$dr_user" "$dr_group"
dr_loaded=$(dr_field rdb_last_load_keys_loaded)
dr_stay=$(dr_count)
dr_stay=${dr_stay##* }
if [ "$dr_loaded" != "$dr_wanted" ]; then dr_fail damaged "the RDB file has $dr_wanted key(s), and the server loaded $dr_loaded"; fi
if [ "$dr_stay" != "$((dr_wanted - dr_expires))" ]; then
  dr_fail damaged "$((dr_wanted - dr_expires)) key(s) should stay for ever, and the server has $dr_stay of that kind"
fi
dr_fact memory_bytes "$(dr_field used_memory)"
dr_answer_all
dr_scratch_close
sync -f "$dr_dir"
rm -f -- "$dr_work/check" "$dr_work/scratch.log"
dr_mark ready
dr_phase ''
