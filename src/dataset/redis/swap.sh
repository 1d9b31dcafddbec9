# The staged directory becomes the live one; what was there is kept. Can be run again from every half-way state:
# 1. `closing` is marked, then the service is stopped and seen to be gone;
# 2. old files are renamed into what is kept, the staged directory is renamed in (it carries its own mark);
# 3. the service starts from its disk, append-only file on, and must say that it loaded every key. Else all goes back.
dr_alone
dr_programs
dr_progress swap 0 0
dr_recall || dr_fail refused 'nothing was staged by this step here'
dr_state_now=$(dr_words_of_mark "$dr_work/mark")
dr_live=$(dr_words_of_mark "$dr_here/dr-plan.mark")
case "$dr_state_now" in
  "$DR_MARK state=live" | "$DR_MARK state=released")
    dr_fact swapped already
    exit 0 ;;
  "$DR_MARK state=closing") ;;
  "$DR_MARK state=ready")
    dr_server || dr_fail unreachable "the Redis server does not answer: $dr_why"
    if [ "$dr_keys" != 0 ] && [ "$DR_REPLACE" != 1 ]; then
      dr_fail refused "the Redis server holds $dr_keys key(s) that this run did not restore; \`replace: true\` sets them aside and keeps them"
    fi
    printf 'keys %s\n' "$dr_keys" >"$dr_work/before"
    dr_mark closing ;;
  *) dr_fail refused "what is staged is not ready: $dr_state_now" ;;
esac
dr_expected=$(sed -n 's/^keys //p' "$dr_work/expected")
dr_swapped=0
dr_give_up() {
  # Only a failure takes it back; a crash leaves it marked, and the next call goes on.
  if [ "$dr_swapped" = 0 ]; then
    systemctl stop "$DR_SERVICE" >/dev/null 2>&1 || :
    if ! dr_put_back; then
      # Started half way, the server would begin empty files of its own.
      dr_note "the old data could not be put back: $DR_SERVICE stays stopped, and what was there before is in $dr_kept"
    elif systemctl start "$DR_SERVICE" >/dev/null 2>&1; then dr_mark ready; fi
  fi
}
dr_at_end dr_give_up
dr_stop
mkdir -p -m 700 -- "$dr_kept"
case "$dr_live" in
  "$DR_MARK state=live") ;;
  *)
    if [ ! -e "$dr_staged/$dr_appenddir" ]; then dr_fail refused "$dr_staged is gone: there is nothing to swap in"; fi
    dr_set_aside "$dr_here"
    dr_set_aside "$dr_dir/$dr_dbfilename"
    mv -- "$dr_staged/$dr_appenddir" "$dr_here" ;;
esac
sync -f "$dr_dir"
dr_start || dr_fail exit_code "$dr_why; the old data was put back"
dr_aof=$(dr_field aof_enabled)
if [ "$dr_aof" != 1 ]; then dr_fail refused 'the Redis server starts without its append-only file; the old data was put back'; fi
dr_loaded=$(dr_field rdb_last_load_keys_loaded)
if [ "$dr_loaded" != "$dr_expected" ]; then
  dr_fail verify "the Redis server loaded $dr_loaded key(s) at its start, the backup has $dr_expected; the old data was put back"
fi
dr_swapped=1
rm -rf -- "$dr_staged" "$dr_work/answers" "$dr_work/questions"
dr_mark live
dr_fact swapped now
dr_fact loaded "$dr_loaded"
if [ "$(sed -n 's/^keys //p' "$dr_work/before" 2>/dev/null)" != 0 ]; then dr_fact kept "$dr_kept"; fi
