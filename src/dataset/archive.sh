# dr_judge_archive: lists the tar archive $dr_dump to its end without writing anything of it, and lets $DR_JUDGE (awk) say whether it may
# be used: what is said stands in dr_judged NAME then. Sets dr_total.
# Where a program stands in the archive that is its standard input.
dr_report_place() { dr_progress "$1" "$(sed -n 's/^pos:[^0-9]*//p' "/proc/$2/fdinfo/0")" "$dr_total"; }
dr_list() {
  tar --list --verbose --block-number --numeric-owner --quoting-style=c --absolute-names --utc --full-time --file - \
    <"$dr_dump" >"$dr_work/list" 2>"$dr_work/said" 7>&- 9>&- &
  dr_tar=$!
  dr_watch 1 dr_report_place inspect "$dr_tar"
  dr_one=0
  wait "$dr_tar" || dr_one=$?
  dr_unwatch
  return "$dr_one"
}
dr_judged() { sed -n "s/^$1 //p" "$dr_work/list.judged" | head -n 1; }
dr_judge_archive() {
  if [ "$dr_form" != tar ]; then
    dr_fail damaged "what is inside the backup is no tar archive: $dr_form ($(head -c 16 <"$dr_dump" | od -An -tx1 | tr -d '\n'))"
  fi
  dr_total=$(dr_size "$dr_dump")
  dr_list || dr_fail damaged "the archive is cut or damaged: $(dr_words "$dr_work/said")"
  awk "$DR_JUDGE" <"$dr_work/list" >"$dr_work/list.judged"
  # tar ends with 0 at the end of an archive that was cut between two members: only the blocks of NULs say that it is whole.
  if grep -q '^refuse-cut' "$dr_work/list.judged"; then dr_fail damaged 'the archive is cut: its last blocks, the mark of its end, are missing'; fi
  dr_words_of_judge=$(dr_judged refuse)
  if [ -n "$dr_words_of_judge" ]; then dr_fail damaged "the archive is not extracted: $dr_words_of_judge"; fi
  if [ "$(tail -c "+$(($(dr_judged ended) * 512 + 1))" "$dr_dump" | tr -d '\0' | head -c 1 | wc -c)" != 0 ]; then
    dr_fail damaged 'something follows the end of the archive: were several put into one file?'
  fi
}
