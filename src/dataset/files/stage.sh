# Extracts an archive beside the live folder. The archive is read to its end and judged before its first byte is written anywhere.
dr_phase prepare
dr_alone
for dr_one in tar awk find flock readlink; do
  command -v "$dr_one" >/dev/null || dr_fail not_found "this host has no \`$dr_one\`"
done
case "$(tar --version 2>/dev/null | head -n 1)" in *'GNU tar'*) ;; *) dr_fail not_found 'this host has no GNU tar: add the package tar' ;; esac
dr_may_replace
if [ -e "$DR_PATH" ] && mountpoint -q -- "$DR_PATH" 2>/dev/null; then
  dr_fail refused "$DR_PATH is a disk of its own and cannot be renamed: name a folder in it"
fi
case "$(dr_words_of_mark)" in
  '' | "$DR_OURS "*' state=staging' | "$DR_OURS "*' state=ready') ;;
  *) dr_fail refused "this step has restored a backup already: $(dr_words_of_mark)" ;;
esac
if [ -e "$dr_work" ] && [ -z "$(dr_words_of_mark)" ]; then dr_fail refused "$dr_work exists and was not made by this step"; fi
if [ -e "$dr_kept" ]; then dr_fail refused "$dr_kept exists: an earlier swap of this run kept it"; fi
# Folders on the way are for everybody who comes to the files.
(umask 022 && mkdir -p -- "${DR_PATH%/*}/")
dr_mark staging
if [ -d "$dr_work" ]; then
  # The bytes that were fetched already may be the beginning of the right ones.
  find "$dr_work" -mindepth 1 -maxdepth 1 ! -name 'stored-*' -exec rm -rf -- {} +
fi
mkdir -p -m 700 -- "$dr_work"
dr_need=$((DR_BYTES / 1024 * 2 + 65536))
dr_has=$(dr_free "$dr_work")
if [ "$dr_has" -lt "$dr_need" ]; then
  dr_fail other "no room: $dr_work has $dr_has kB free, and twice the backup and some are $dr_need kB"
fi
dr_forget() { dr_gpg_forget "$dr_work/opened"; rm -f -- "$dr_work"/opened* "$dr_work"/list* "$dr_work"/said*; }
dr_forget
dr_at_end dr_forget

dr_obtain "$dr_work"

dr_phase inspect
dr_judge_archive
dr_files=$(dr_judged files)
dr_links=$(dr_judged links)
dr_bytes_wanted=$(dr_judged bytes)
if [ "$dr_files" = 0 ]; then dr_fail damaged 'there is no file in the archive'; fi
dr_fact files "$dr_files"
dr_fact bytes "$dr_bytes_wanted"
dr_fact plain_bytes "$dr_total"
if [ "$(dr_judged privileged)" != 0 ]; then dr_note "$(dr_judged privileged) file(s) in the archive run with the rights of their owner or group (setuid, setgid)"; fi
dr_need=$((dr_bytes_wanted / 1024 + $(dr_judged members) * 4 + 65536))
dr_has=$(dr_free "$dr_work")
if [ "$dr_has" -lt "$dr_need" ]; then dr_fail other "no room: $dr_work has $dr_has kB free, and the files need about $dr_need kB"; fi
dr_has=$(df -Pi -- "$dr_work" | awk 'NR == 2 { print $4 }')
case "$dr_has" in
  '' | *[!0-9]* | 0) ;;
  *) if [ "$dr_has" -lt "$(dr_judged members)" ]; then dr_fail other "no room: $dr_has more files fit on the disk of $dr_work, and there are $(dr_judged members)"; fi ;;
esac

dr_phase restore
mkdir -m 755 -- "$dr_work/tree"
tar --extract --same-owner --numeric-owner --preserve-permissions --acls --xattrs --xattrs-include='*' --sparse \
  --delay-directory-restore --directory "$dr_work/tree" --file - <"$dr_dump" >/dev/null 2>"$dr_work/said" 7>&- 9>&- &
dr_tar=$!
dr_watch 1 dr_report_place restore "$dr_tar"
dr_one=0
wait "$dr_tar" || dr_one=$?
dr_unwatch
if [ "$dr_one" != 0 ]; then dr_fail exit_code "extracting: $(dr_words "$dr_work/said")"; fi

dr_phase verify
if [ "$(dr_judged twice)" = 0 ]; then
  # Byte by byte, with owners, modes and times.
  tar --compare --numeric-owner --directory "$dr_work/tree" --file "$dr_dump" >"$dr_work/said" 2>&1 ||
    dr_fail verify "what was extracted is not what is in the archive: $(dr_words "$dr_work/said")"
fi
dr_has=$(find "$dr_work/tree" -type f -printf 'x\n' | wc -l)
if [ "$dr_has" != "$dr_files" ]; then dr_fail verify "the archive has $dr_files file(s), and $dr_has were extracted"; fi
dr_has=$(find "$dr_work/tree" -type l -printf 'x\n' | wc -l)
if [ "$dr_has" != "$dr_links" ]; then dr_fail verify "the archive has $dr_links link(s), and $dr_has were extracted"; fi
dr_has=$(find "$dr_work/tree" -type f -printf '%D:%i %s\n' | sort -u | awk '{ sum += $2 } END { printf "%.0f", sum }')
if [ "$dr_has" != "$dr_bytes_wanted" ]; then dr_fail verify "the archive has $dr_bytes_wanted bytes of files, and $dr_has were extracted"; fi
if [ -n "$(find "$dr_work/tree" ! -type f ! -type d ! -type l | head -n 1)" ]; then dr_fail damaged 'something that is no file was extracted'; fi
dr_tree=$dr_work/tree
if [ -n "$DR_WITHIN" ]; then
  dr_tree=$dr_work/tree/$DR_WITHIN
  if [ ! -d "$dr_tree" ] || [ -L "$dr_tree" ]; then
    dr_fail damaged "the archive has no folder \`$DR_WITHIN\`; it has: $(ls -A -- "$dr_work/tree" | head -n 5 | paste -sd ' ')"
  fi
fi
# Links to links are followed on the disk. Inside of what becomes the live folder they lead to the same places there.
dr_true=$(readlink -f -- "$dr_tree")
find "$dr_tree" -type l -exec readlink -m -z -- {} + | tr '\0\n' '\n?' | awk -v root="$dr_true" '
  $0 != root && index($0, root "/") != 1 { print; exit }' >"$dr_work/said"
if [ -s "$dr_work/said" ]; then dr_fail damaged "a link in the archive leads out of the folder: to $(head -n 1 "$dr_work/said")"; fi
if [ -n "$DR_OWNER" ]; then
  # With nothing but a user: the user's own group, too.
  case "$DR_OWNER" in *:*) dr_owner=$DR_OWNER ;; *) dr_owner=$DR_OWNER: ;; esac
  chown -hR -- "$dr_owner" "$dr_tree" 2>"$dr_work/said" || dr_fail exit_code "handing the files to $DR_OWNER: $(dr_words "$dr_work/said")"
fi
# An archive without its own top folder says nothing about it: then it is as it was.
if [ -z "$DR_WITHIN" ] && [ "$(dr_judged top)" = 0 ] && [ -d "$DR_PATH" ]; then
  chmod --reference="$DR_PATH" -- "$dr_tree"
  if [ -z "$DR_OWNER" ]; then chown --reference="$DR_PATH" -- "$dr_tree"; fi
fi
sync -f "$dr_work"
printf '%s\n' "$dr_tree" >"$dr_state/root"
dr_number "$dr_tree" >"$dr_state/tree"
dr_mark ready
dr_phase ''
