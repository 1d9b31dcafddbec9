# Takes a file from fd 3. Until it is whole it has another name; the end of a dying sender looks like a good end.
set -eu
umask 077
# Nobody may be listening any more when the half file is to be removed.
trap '' PIPE
dr_folder=${DR_TO%/*}
dr_next=$dr_folder/.${DR_TO##*/}.dr-plan-$DR_NONCE
trap 'rm -f "$dr_next"' EXIT
if [ -n "$DR_KEEP" ]; then
  mkdir -p -- "$DR_KEEP"
  # Every folder on the way is for those who come to the file.
  if [ ! -d "${dr_folder:-/}" ]; then ( umask 022; mkdir -p -- "$dr_folder" ); fi
fi
if [ ! -d "${dr_folder:-/}" ]; then echo "there is no folder $dr_folder" >&2; exit 66; fi
head -c "$DR_LENGTH" <&3 >"$dr_next" || { cat <&3 >/dev/null; exit 74; }
dr_length=$(wc -c <"$dr_next")
if [ "$dr_length" -ne "$DR_LENGTH" ]; then echo "only $dr_length of $DR_LENGTH bytes arrived" >&2; exit 65; fi
dr_sum=$(sha256sum <"$dr_next")
if [ "${dr_sum%% *}" != "$DR_SHA256" ]; then echo "another SHA-256 arrived: ${dr_sum%% *}" >&2; exit 65; fi
if [ -n "$DR_OWNER" ]; then chown -- "$DR_OWNER" "$dr_next"; fi
chmod -- "$DR_MODE" "$dr_next"
sync "$dr_next"
if [ -n "$DR_KEEP" ]; then
  # What an earlier sender left behind may be here still. Of two, the one that comes second must not keep our own file as the old one.
  exec 7>>"$DR_KEEP/lock"
  flock -w 20 7 || { echo "another sender has held $DR_KEEP/lock for 20 s" >&2; exit 75; }
  # What was kept here before was let go of: from now on something else is kept.
  if [ -e "$DR_KEEP.released" ]; then
    rm -f -- "$DR_KEEP/done" "$DR_KEEP/previous"
    sync -f "$DR_KEEP"
    rm -f -- "$DR_KEEP.released"
  fi
  if [ ! -e "$DR_KEEP/done" ]; then
    if [ -e "$DR_TO" ]; then
      cp -a -- "$DR_TO" "$DR_KEEP/previous.part"
      sync "$DR_KEEP/previous.part"
      mv -fT -- "$DR_KEEP/previous.part" "$DR_KEEP/previous"
    fi
    sync "$DR_KEEP"
    : >"$DR_KEEP/done"
    sync "$DR_KEEP"
  fi
fi
mv -fT -- "$dr_next" "$DR_TO"
trap - EXIT
sync "${dr_folder:-/}"
