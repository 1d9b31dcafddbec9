# The staged files take their places, each by a rename; what was there is kept. Can be run again from every half-way state.
dr_alone
dr_progress swap 0 0
case "$(dr_words_of_mark)" in
  "$DR_MARK state=live" | "$DR_MARK state=released")
    dr_fact swapped already
    exit 0 ;;
  "$DR_MARK state=closing") ;;
  "$DR_MARK state=ready")
    dr_may_replace
    rm -rf -- "$dr_kept"
    mkdir -m 700 -- "$dr_kept"
    : >"$dr_absent.new"
    dr_keep() {
      if [ -e "$1" ]; then
        mkdir -p -- "$dr_kept${1%/*}"
        cp -a -- "$1" "$dr_kept$1"
      else
        printf '%s\n' "$1" >>"$dr_absent.new"
      fi
    }
    dr_each dr_keep
    mv -f -- "$dr_absent.new" "$dr_absent"
    sync -f "$dr_state"
    dr_mark closing ;;
  *) dr_fail refused "what is staged is not ready: $(dr_words_of_mark)" ;;
esac
dr_put() {
  if [ "$(dr_identity "$1")" != "$(dr_wanted "$1")" ]; then dr_place "$dr_new$1" "$1"; fi
}
dr_each dr_put
dr_wrong=$(dr_each dr_stands_at | grep -v '^ours ' | head -n 1 || :)
if [ -n "$dr_wrong" ]; then dr_fail verify "${dr_wrong#* } is not what was staged for it"; fi
dr_mark live
rm -rf -- "$dr_new" "$dr_work"
dr_fact swapped now
if [ -n "$(find "$dr_kept" -type f | head -n 1)" ]; then dr_fact kept "$dr_kept"; fi
