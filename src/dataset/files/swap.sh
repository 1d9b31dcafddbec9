# The staged folder becomes the live one by renames within one disk; what was there is kept. Can be run again from every half-way state.
dr_alone
dr_progress swap 0 0
case "$(dr_words_of_mark)" in
  "$DR_MARK state=live" | "$DR_MARK state=released")
    dr_fact swapped already
    exit 0 ;;
  "$DR_MARK state=closing") ;;
  "$DR_MARK state=ready")
    dr_may_replace
    dr_mark closing ;;
  *) dr_fail refused "what is staged is not ready: $(dr_words_of_mark)" ;;
esac
dr_tree=$(dr_root)
case "$(dr_stands)" in
  ours | absent) ;;
  empty) rmdir -- "$DR_PATH" ;;
  full)
    # Half way, with the old folder kept: somebody has made a new one since.
    if [ -e "$dr_kept" ]; then dr_fail refused "$DR_PATH was made anew by something else while it was swapped; what was there before is in $dr_kept"; fi
    mv -T -- "$DR_PATH" "$dr_kept" ;;
  *) dr_fail refused "$DR_PATH is no folder any more" ;;
esac
if [ "$(dr_stands)" != ours ]; then mv -T -- "$dr_tree" "$DR_PATH"; fi
sync -f "$DR_PATH"
dr_mark live
rm -rf -- "$dr_work"
dr_fact swapped now
if [ -e "$dr_kept" ]; then dr_fact kept "$dr_kept"; fi
