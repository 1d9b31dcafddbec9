# Takes a swap back: what was kept is live again, and the restored data is staged again with whatever was written into it since.
dr_alone
dr_programs
if ! dr_recall || [ ! -e "$dr_work" ]; then dr_fact back already; exit 0; fi
case "$(dr_words_of_mark "$dr_work/mark")" in
  "$DR_OURS "*' state=live' | "$DR_OURS "*' state=closing') ;;
  "$DR_OURS "*) dr_fact back already; exit 0 ;;
  *) dr_fail refused "$dr_work was not made by this step: $(dr_words_of_mark "$dr_work/mark")" ;;
esac
dr_mark closing
dr_stop
dr_put_back
dr_start || dr_fail exit_code "$dr_why"
dr_mark ready
