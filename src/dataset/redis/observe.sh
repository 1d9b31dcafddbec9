if ! command -v redis-cli >/dev/null; then echo 'server down this host has no redis-cli'; exit 0; fi
if dr_server; then
  echo "server up $dr_version"
  echo "role $(dr_field role)"
  echo "keys $dr_keys"
  echo "aof $(dr_field aof_enabled)"
  echo "clients $(dr_field connected_clients)"
  echo "saved $(dr_field rdb_last_save_time)"
  dr_dir=$(dr_setting dir) || dr_dir=''
  dr_appenddir=$(dr_setting appenddirname) || dr_appenddir=''
else
  echo "server down $dr_why"
  dr_dir=''
  dr_appenddir=''
fi
if [ -z "$dr_dir" ] || [ -z "$dr_appenddir" ]; then dr_recall || exit 0; fi
dr_places
echo "dir $dr_dir"
if [ -e "$dr_work" ]; then echo "work $(dr_words_of_mark "$dr_work/mark")"; fi
if [ -e "$dr_here/dr-plan.mark" ]; then echo "live $(dr_words_of_mark "$dr_here/dr-plan.mark")"; fi
