# Serves requests on one session, one after the other. A request is the line "NONCE LENGTH MODE", then LENGTH bytes
# of shell text that end in "#NONCE", then, in mode "input", bytes that the text reads from fd 3.
# Each runs in a session (and so a process group) of its own; its end is told on both outputs.
exec 3<&0 4>&1 5>&2 </dev/null
cd /
dr_missing=''
for dr_tool in setsid flock head sed tail wc sha256sum find sync; do
  command -v "$dr_tool" >/dev/null || dr_missing="$dr_missing $dr_tool"
done
dr_run='
dr_text=$(head -c "$2")
case $dr_text in *"#$1") ;; *) exit 97 ;; esac
printf "\n%s:begin\n" "$1"
printf "\n%s:begin\n" "$1" >&2
exec 3<&0 </dev/null
eval "$dr_text"
'
dr_one() {
  setsid sh -c "$dr_run" dr-plan "$dr_nonce" "$dr_length" <&3 3<&- 4>&- 5>&- 6>&- &
  dr_pid=$!
  wait "$dr_pid"
  dr_status=$?
  # Whoever is left of the group ends here. Then this session is not used again: something may be in its pipes.
  if kill -KILL -"$dr_pid" 2>/dev/null; then dr_after=close; else dr_after=keep; fi
  printf '\n%s:end:%s:%s\n' "$dr_nonce" "$dr_status" "$dr_after"
  printf '\n%s:end:%s:%s\n' "$dr_nonce" "$dr_status" "$dr_after" >&2
}
while IFS=' ' read -r dr_nonce dr_length dr_mode <&3; do
  case $dr_nonce$dr_length in *[!0-9a-f]* | '') exit 97 ;; esac
  if [ -n "$dr_missing" ]; then
    printf '\n%s:begin\n\n%s:end:127:close\n' "$dr_nonce" "$dr_nonce"
    printf '\n%s:begin\nthis host lacks programs that dr-plan needs:%s\n%s:end:127:close\n' "$dr_nonce" "$dr_missing" "$dr_nonce" >&2
    exit 127
  fi
  case $dr_mode in
    relayed)
      # Somebody else's text: what it leaves behind may hold our outputs open and write into a later answer.
      # So it gets pipes of its own, whose readers go with the end mark.
      { { dr_one 2>&1 1>&6 | sed "/^$dr_nonce:end:/q" >&5; } 6>&1 | sed "/^$dr_nonce:end:/q" >&4; }
      ;;
    direct) dr_one ;;
    input)
      dr_one
      # Input that was not read must never be taken for a request.
      [ "$dr_status" = 0 ] || exit 97
      ;;
    *) exit 97 ;;
  esac
done
