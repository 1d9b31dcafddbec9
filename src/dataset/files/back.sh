# Takes a swap back: the restored folder, with whatever was written into it since, is staged again; what was kept is live again.
dr_alone
case "$(dr_words_of_mark)" in
  "$DR_OURS "*' state=live' | "$DR_OURS "*' state=closing') ;;
  "$DR_OURS "*' state=released') dr_fail refused 'what was there before was let go of (`dr-plan release`)' ;;
  '' | "$DR_OURS "*) dr_fact back already; exit 0 ;;
  *) dr_fail refused "$DR_PATH was not put in place by this step: $(dr_words_of_mark)" ;;
esac
dr_mark closing
if [ "$(dr_stands)" = ours ]; then
  mkdir -p -m 700 -- "$dr_work"
  mv -T -- "$DR_PATH" "$dr_work/tree"
  printf '%s\n' "$dr_work/tree" >"$dr_state/root"
fi
if [ -e "$dr_kept" ]; then
  case "$(dr_stands)" in
    absent) ;;
    empty) rmdir -- "$DR_PATH" ;;
    *) dr_fail refused "$DR_PATH was made anew by something else; what was there before is in $dr_kept" ;;
  esac
  mv -T -- "$dr_kept" "$DR_PATH"
fi
sync -f "${DR_PATH%/*}/"
dr_mark ready
