# Takes a swap back: each file is what it was, or gone where there was none.
dr_alone
case "$(dr_words_of_mark)" in
  "$DR_OURS "*' state=live' | "$DR_OURS "*' state=closing') ;;
  "$DR_OURS "*' state=released') dr_fail refused 'what was there before was let go of (`dr-plan release`)' ;;
  '' | "$DR_OURS "*) dr_fact back already; exit 0 ;;
  *) dr_fail refused "the files were not put in place by this step: $(dr_words_of_mark)" ;;
esac
dr_lost() {
  if [ ! -e "$dr_kept$1" ] && ! grep -qxF -e "$1" "$dr_absent" 2>/dev/null; then echo "$1"; fi
}
dr_wrong=$(dr_each dr_lost | head -n 1)
if [ -n "$dr_wrong" ]; then dr_fail refused "what was $dr_wrong before is not kept any more: nothing is taken back"; fi
dr_mark closing
dr_back() {
  case "$(dr_stands_at "$1")" in
    foreign*) if [ "$(dr_identity "$1")" != "$(dr_identity "$dr_kept$1")" ]; then dr_note "$1 was changed since: that change is gone now"; fi ;;
  esac
  rm -f -- "${1%/*}/.${1##*/}.dr-$DR_SHORT"
  if [ -e "$dr_kept$1" ]; then dr_place "$dr_kept$1" "$1"; else rm -f -- "$1"; fi
}
dr_each dr_back
dr_unlike() {
  if [ "$(dr_identity "$1")" != "$(dr_identity "$dr_kept$1")" ]; then echo "$1"; fi
}
dr_wrong=$(dr_each dr_unlike | head -n 1)
if [ -n "$dr_wrong" ]; then dr_fail verify "$dr_wrong is not what it was before"; fi
dr_mark staging
