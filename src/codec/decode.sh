# dr_sniff: names what the bytes on standard input are (codec::sniff says the same on our side).
dr_sniff() {
  dr_hex=$(head -c 512 | od -An -v -tx1 | tr -d ' \n')
  case "$dr_hex" in
    '') echo empty ;;
    1f8b*) echo gzip ;;
    28b52ffd*) echo zstd ;;
    fd377a585a00*) echo xz ;;
    5047444d50*) echo custom ;;
    2d2d0a2d2d20506f737467726553514c20646174616261736520636c757374657220*) echo cluster ;;
    2d2d0a2d2d20506f737467726553514c2064617461626173652064756d70*) echo plain ;;
    6167652d656e6372797074696f6e2e6f72672f7631*) echo age ;;
    2d2d2d2d2d424547494e2041474520454e43525950*) echo age ;;
    2d2d2d2d2d424547494e20504750204d455353414745*) echo gpg ;;
    53616c7465645f5f*) echo openssl ;;
    8c??04* | 8c??05* | 8c??06* | c3??04* | c3??05* | c3??06*) echo gpg ;;
    84??02* | 84??03* | 84??06* | c1??02* | c1??03* | c1??06* | 85????02* | 85????03* | 85????06*) echo gpg_recipient ;;
    *) echo unknown ;;
  esac
}

# A home of its own for gpg: none of the host's keys, options or agents take part, and nothing stays behind.
dr_gpg_home=''
dr_gpg_close() {
  if [ -n "$dr_gpg_home" ]; then
    gpgconf --homedir "$dr_gpg_home" --kill all >/dev/null 2>&1 || :
    rm -rf -- "$dr_gpg_home"
    dr_gpg_home=''
  fi
}
dr_at_end dr_gpg_close
# dr_gpg_forget OUT: ends what an attempt at OUT that was killed has left of gpg.
dr_gpg_forget() {
  if [ -s "$1.gpg" ]; then
    dr_gpg_home=$(cat "$1.gpg")
    case "$dr_gpg_home" in */dr-gpg.*) dr_gpg_close ;; *) dr_gpg_home='' ;; esac
  fi
  rm -f -- "$1.gpg"
}

# dr_open LAYER FILE STATUS: the inside of an encrypted file on standard output. gpg's agent must not inherit a lock (fd 7, fd 9).
dr_open() {
  case "$1" in
    gpg)
      printf '%s\n' "$DR_SECRET_KEY" | gpg --homedir "$dr_gpg_home" --no-options --batch --no-tty --quiet \
        --no-symkey-cache --pinentry-mode loopback --passphrase-fd 0 --status-fd 3 \
        --decrypt "$2" 3>"$3" 2>"$3.said" 7>&- 9>&- ;;
    age)
      printf '%s\n' "$DR_SECRET_KEY" | age --decrypt --identity - "$2" 2>"$3.said" ;;
    *) cat -- "$2" ;;
  esac
}

dr_has_unpacker() {
  case "$1" in
    gzip | zstd | xz) command -v "$1" >/dev/null || dr_fail not_found "this host has no \`$1\`: add its package" ;;
  esac
}

# dr_unpack LAYER: standard input without its compression.
dr_unpack() {
  case "$1" in
    gzip) gzip -dc ;;
    zstd) zstd -dcq ;;
    xz) xz -dc ;;
    *) cat ;;
  esac
}

# dr_decode IN OUT RESERVE: opens IN (at most one encryption around at most one compression) into OUT, and leaves RESERVE
# kilobytes of the disk free. Nothing of OUT may be used before this has returned: gpg hands on changed text before it
# sees that it was changed. Sets dr_outer, dr_inner and dr_form.
dr_decode() {
  dr_in=$1
  dr_out=$2
  dr_outer=$(dr_sniff <"$dr_in")
  dr_inner=none
  case "$dr_outer" in
    empty) dr_fail damaged 'the backup is empty' ;;
    unknown) dr_fail damaged "the backup's first bytes belong to nothing that is known: $(head -c 16 <"$dr_in" | od -An -tx1 | tr -d '\n')" ;;
    openssl) dr_fail refused 'the backup is closed with `openssl enc`: nothing in that format shows whether it was changed, so this version does not open it' ;;
    gpg_recipient) dr_fail refused 'the backup is closed for the holder of a gpg secret key, and this version opens passphrases only' ;;
    gpg)
      if [ "${DR_KEY:-none}" != gpg ]; then dr_fail denied 'the backup is closed with gpg, and its dataset names no gpg `key:`'; fi
      # gpg opens nothing without its agent, which Debian packs apart.
      for dr_need in gpg gpg-agent; do
        command -v "$dr_need" >/dev/null || dr_fail not_found "this host has no \`$dr_need\`: add the package \`$dr_need\`"
      done
      dr_gpg_home=$(mktemp -d "${TMPDIR:-/tmp}/dr-gpg.XXXXXXXX")
      printf '%s\n' "$dr_gpg_home" >"$dr_out.gpg" ;;
    age)
      if [ "${DR_KEY:-none}" != age ]; then dr_fail denied 'the backup is closed with age, and its dataset names no age `key:`'; fi
      command -v age >/dev/null || dr_fail not_found 'this host has no `age`: add the package `age`' ;;
    *)
      if [ "${DR_KEY:-none}" != none ]; then dr_note "the backup is not encrypted, although its dataset names a $DR_KEY key"; fi ;;
  esac
  # Opening takes its time by design (the key is stretched), so it happens once: what is inside is told from the stream.
  case "$dr_outer" in
    gpg | age) dr_inside='' ;;
    *) dr_inside=$dr_outer; dr_has_unpacker "$dr_outer" ;;
  esac
  if [ "$dr_inside" = custom ] || [ "$dr_inside" = plain ] || [ "$dr_inside" = cluster ]; then
    ln -f -- "$dr_in" "$dr_out"
  else
    dr_free=$(df -Pk -- "$(dirname -- "$dr_out")" | awk 'NR == 2 { print $4 }')
    dr_room=$(((dr_free - $3) * 2))
    if [ "$dr_room" -le 0 ]; then dr_fail other "no room to open the backup: $dr_free kB free, $3 kB kept for the rest"; fi
    dr_watch_file decode "$dr_out" 0
    # A file may not grow into the reserve: a compressed backup can be made to fill any disk. Blocks are 512 bytes.
    (
      ulimit -f "$dr_room"
      (
        dr_one=0
        dr_open "$dr_outer" "$dr_in" "$dr_out.open" || dr_one=$?
        echo "$dr_one" >"$dr_out.opened"
      ) | (
        dr_one=0
        dd bs=512 count=1 iflag=fullblock of="$dr_out.head" 2>/dev/null
        dr_inside=$(dr_sniff <"$dr_out.head")
        echo "$dr_inside" >"$dr_out.inside"
        { cat -- "$dr_out.head"; cat; } | dr_unpack "$dr_inside" >"$dr_out" 2>"$dr_out.unpack.said" || dr_one=$?
        echo "$dr_one" >"$dr_out.unpacked"
      )
    ) || :
    dr_unwatch
    dr_opened=$(cat "$dr_out.opened" 2>/dev/null || echo none)
    dr_unpacked=$(cat "$dr_out.unpacked" 2>/dev/null || echo none)
    dr_inside=$(cat "$dr_out.inside" 2>/dev/null || echo empty)
    case "$dr_inside" in
      gzip | zstd | xz) dr_inner=$dr_inside; dr_has_unpacker "$dr_inside" ;;
    esac
    if [ "$dr_unpacked" = 153 ]; then dr_fail other "the backup opens to more than the disk has room for ($(dr_size "$dr_out") bytes so far)"; fi
    if [ "$dr_opened" != 0 ] && [ "$dr_inside" = empty ]; then
      dr_fail damaged "the key does not open the backup, or its head is damaged: $(dr_words "$dr_out.open.said")"
    fi
    case "$dr_outer" in
      gpg)
        if [ "$dr_opened" != 0 ] || ! grep -q '^\[GNUPG:\] DECRYPTION_OKAY' "$dr_out.open" ||
          ! grep -q '^\[GNUPG:\] GOODMDC' "$dr_out.open"; then
          dr_fail damaged "the backup does not open whole (gpg status $dr_opened): wrong key, cut or changed: $(dr_words "$dr_out.open.said")"
        fi ;;
      age)
        if [ "$dr_opened" != 0 ]; then
          dr_fail damaged "the backup does not open whole (age status $dr_opened): wrong key, cut or changed: $(dr_words "$dr_out.open.said")"
        fi ;;
    esac
    if [ "$dr_unpacked" != 0 ]; then
      dr_fail damaged "the backup does not unpack whole ($dr_inner status $dr_unpacked): $(dr_words "$dr_out.unpack.said")"
    fi
    rm -f -- "$dr_out.open" "$dr_out.open.said" "$dr_out.opened" "$dr_out.unpacked" "$dr_out.unpack.said" "$dr_out.head" "$dr_out.inside"
  fi
  dr_gpg_close
  dr_form=$(dr_sniff <"$dr_out")
  dr_progress decode "$(dr_size "$dr_out")" "$(dr_size "$dr_out")"
}
