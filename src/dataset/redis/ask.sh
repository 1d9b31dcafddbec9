# Answers questions to what is staged once more: others than before, or their answers were lost.
dr_alone
dr_programs
dr_recall || dr_fail not_found 'nothing was staged by this step here'
case "$(dr_words_of_mark "$dr_work/mark")" in
  "$DR_MARK state=ready") ;;
  *) dr_fail refused "what is staged is not ready: $(dr_words_of_mark "$dr_work/mark")" ;;
esac
dr_scratch_begin "$(sed -n "s/^user //p" "$dr_work/expected")" "$(sed -n "s/^group //p" "$dr_work/expected")"
dr_answer_all
dr_scratch_close
