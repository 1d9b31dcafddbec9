# Takes the listed files out of an archive, and nothing else of it; puts rendered templates over them; and lets their service's checker say
# whether it can work with them, before anything is in place.
dr_phase prepare
dr_alone
for dr_one in tar awk unshare flock; do
  command -v "$dr_one" >/dev/null || dr_fail not_found "this host has no \`$dr_one\`"
done
case "$(tar --version 2>/dev/null | head -n 1)" in *'GNU tar'*) ;; *) dr_fail not_found 'this host has no GNU tar: add the package tar' ;; esac
case "$(dr_words_of_mark)" in
  '' | "$DR_OURS "*' state=staging' | "$DR_OURS "*' state=ready') ;;
  *) dr_fail refused "this step has restored a backup already: $(dr_words_of_mark)" ;;
esac
dr_may_replace
dr_mark staging
rm -rf -- "$dr_new" "$dr_state/want"
mkdir -p -m 700 -- "$dr_work"
# The bytes that were fetched already may be the beginning of the right ones.
find "$dr_work" -mindepth 1 -maxdepth 1 ! -name 'stored-*' -exec rm -rf -- {} +
dr_need=$((DR_BYTES / 1024 * 2 + 65536))
dr_has=$(dr_free "$dr_work")
if [ "$dr_has" -lt "$dr_need" ]; then
  dr_fail other "no room: $dr_work has $dr_has kB free, and twice the backup and some are $dr_need kB"
fi
dr_forget() { dr_gpg_forget "$dr_work/opened"; rm -rf -- "$dr_work/tree"; rm -f -- "$dr_work"/opened* "$dr_work"/list* "$dr_work"/said*; }
dr_forget
dr_at_end dr_forget

dr_obtain "$dr_work"

dr_phase inspect
dr_judge_archive
dr_templates=$(printf '%s\n' "$DR_RENDERED" | cut -f 1)
sed -n 's/^missing //p' "$dr_work/list.judged" >"$dr_work/list.missing"
while IFS= read -r dr_path; do
  if ! printf '%s\n' "$dr_templates" | grep -qxF -e "$dr_path"; then
    dr_fail damaged "$dr_path is not in the archive, and no template makes it"
  fi
done <"$dr_work/list.missing"
if [ "$(dr_judged others)" != 0 ]; then dr_note "$(dr_judged others) other file(s) of the archive are left alone: they are not listed"; fi
dr_need=$(($(dr_judged bytes) / 1024 * 2 + 65536))
dr_has=$(dr_free "$dr_work")
if [ "$dr_has" -lt "$dr_need" ]; then dr_fail other "no room: $dr_work has $dr_has kB free, and the files need about $dr_need kB"; fi

dr_phase restore
mkdir -m 700 -- "$dr_work/tree"
sed -n 's/^member //p' "$dr_work/list.judged" >"$dr_work/list.members"
if [ -s "$dr_work/list.members" ]; then
  tar --extract --same-owner --numeric-owner --preserve-permissions --acls --xattrs --xattrs-include='*' --no-recursion \
    --directory "$dr_work/tree" --verbatim-files-from --files-from "$dr_work/list.members" --file "$dr_dump" >/dev/null 2>"$dr_work/said" ||
    dr_fail exit_code "extracting: $(dr_words "$dr_work/said")"
  tar --compare --numeric-owner --no-recursion --directory "$dr_work/tree" --verbatim-files-from --files-from "$dr_work/list.members" \
    --file "$dr_dump" >"$dr_work/said" 2>&1 ||
    dr_fail verify "what was extracted is not what is in the archive: $(dr_words "$dr_work/said")"
fi
# What a template makes has the owner and the mode that the file had, if it was there.
printf '%s\n' "$DR_RENDERED" >"$dr_work/list.rendered"
while IFS=$dr_tab read -r dr_path dr_text; do
  if [ -z "$dr_path" ]; then continue; fi
  dr_file=$dr_work/tree$dr_path
  mkdir -p -- "${dr_file%/*}"
  printf '%b' "$dr_text" >"$dr_file.dr-rendered" || dr_fail other "no room for $dr_path"
  if [ -e "$dr_file" ]; then
    chown --reference="$dr_file" -- "$dr_file.dr-rendered"
    chmod --reference="$dr_file" -- "$dr_file.dr-rendered"
  else
    chmod 644 -- "$dr_file.dr-rendered"
  fi
  mv -fT -- "$dr_file.dr-rendered" "$dr_file"
done <"$dr_work/list.rendered"
mv -T -- "$dr_work/tree" "$dr_new"
dr_note_wanted() { printf '%s\t%s\n' "$(dr_identity "$dr_new$1")" "$1"; }
dr_each dr_note_wanted >"$dr_state/want.new"
if grep -qvE '^[0-9a-f]{64} ' "$dr_state/want.new"; then dr_fail verify "not all files are staged: $(grep -vE '^[0-9a-f]{64} ' "$dr_state/want.new" | head -n 1)"; fi
mv -f -- "$dr_state/want.new" "$dr_state/want"
dr_fact files "$(wc -l <"$dr_state/want")"

dr_phase verify
if [ -n "$DR_CHECK" ]; then
  dr_listed() { printf '%s\t%s\n' "$dr_new$1" "$1"; }
  dr_each dr_listed >"$dr_work/list"
  dr_status_of_check=0
  dr_view "$dr_work" || dr_status_of_check=$?
  case "$dr_status_of_check" in
    0) ;;
    90) dr_fail other "the check cannot be asked on this host: $(dr_words "$dr_work/said")" ;;
    *) dr_fail damaged "the check refuses these files (status $dr_status_of_check), and nothing was put in place: $(dr_words "$dr_work/said")" ;;
  esac
fi
sync -f "$dr_state"
dr_mark ready
dr_phase ''
