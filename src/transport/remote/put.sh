# Takes a file from fd 3. Until it is whole it has another name; the end of a dying sender looks like a good end.
set -eu
umask 077
# Nobody may be listening any more when the half file is to be removed.
trap '' PIPE
dr_folder=${DR_TO%/*}
dr_next=$dr_folder/.${DR_TO##*/}.dr-plan-$DR_NONCE
trap 'rm -f "$dr_next"' EXIT
if [ ! -d "${dr_folder:-/}" ]; then echo "there is no folder $dr_folder" >&2; exit 66; fi
head -c "$DR_LENGTH" <&3 >"$dr_next" || { cat <&3 >/dev/null; exit 74; }
dr_length=$(wc -c <"$dr_next")
if [ "$dr_length" -ne "$DR_LENGTH" ]; then echo "only $dr_length of $DR_LENGTH bytes arrived" >&2; exit 65; fi
dr_sum=$(sha256sum <"$dr_next")
if [ "${dr_sum%% *}" != "$DR_SHA256" ]; then echo "another SHA-256 arrived: ${dr_sum%% *}" >&2; exit 65; fi
if [ -n "$DR_OWNER" ]; then chown -- "$DR_OWNER" "$dr_next"; fi
chmod -- "$DR_MODE" "$dr_next"
sync "$dr_next"
mv -fT -- "$dr_next" "$DR_TO"
trap - EXIT
sync "${dr_folder:-/}"
