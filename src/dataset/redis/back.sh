# Takes a swap back: what was kept is live again, and the restored data is staged again with whatever was written into it since.
dr_alone
dr_programs
if ! dr_recall; then dr_fact back already; exit 0; fi
dr_let_go_of='what was there before was let go of (`dr-plan release`)'
if [ ! -e "$dr_work" ]; then
  # Only a release takes what was kept away while the restored data is live.
  case "$(dr_words_of_mark "$dr_here/dr-plan.mark")" in
    "$DR_OURS "*) dr_fail refused "$dr_let_go_of" ;;
  esac
  dr_fact back already
  exit 0
fi
case "$(dr_words_of_mark "$dr_work/mark")" in
  "$DR_OURS "*' state=released') dr_fail refused "$dr_let_go_of" ;;
  "$DR_OURS "*' state=live' | "$DR_OURS "*' state=closing') ;;
  "$DR_OURS "*) dr_fact back already; exit 0 ;;
  *) dr_fail refused "$dr_work was not made by this step: $(dr_words_of_mark "$dr_work/mark")" ;;
esac
dr_mark closing
dr_stop
dr_put_back
dr_start || dr_fail exit_code "$dr_why"
dr_mark ready
