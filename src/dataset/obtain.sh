# From the store's bytes to one opened file, for every kind of data: fetched, compared with the manifest, decoded once.
dr_phase() {
  dr_now=$(date +%s%3N)
  if [ -n "${dr_phase_name:-}" ]; then dr_fact "milliseconds.$dr_phase_name" "$((dr_now - dr_phase_began))"; fi
  dr_phase_name=$1
  dr_phase_began=$dr_now
  if [ -n "$1" ]; then dr_progress "$1" 0 0; fi
}
dr_free() { df -Pk -- "$1" | awk 'NR == 2 { print $4 }'; }
dr_distrust() { if [ "${dr_suspect:-0}" = 1 ]; then rm -f -- "$dr_stored"; fi; }
# dr_obtain PLACE: leaves the opened backup in PLACE/opened and says so in dr_dump and dr_form. PLACE is private.
dr_obtain() {
  dr_place=$1
  dr_phase fetch
  dr_stored=$dr_place/stored-$DR_TAG
  for dr_one in "$dr_place"/stored-*; do
    if [ "$dr_one" != "$dr_stored" ]; then rm -f -- "$dr_one"; fi
  done
  if [ -n "$DR_DELIVERED" ]; then
    if [ -d "$DR_DELIVERED" ]; then
      cat -- "$DR_DELIVERED"/[0-9]* >"$dr_stored" || dr_fail other "no room to join the backup in $dr_place"
      rm -rf -- "$DR_DELIVERED"
    fi
    if [ "$(dr_size "$dr_stored")" -ne "$DR_BYTES" ]; then
      dr_fail damaged "$(dr_size "$dr_stored") bytes were delivered, not the $DR_BYTES of the listing"
    fi
  else
    if [ "$(dr_size "$dr_stored")" -gt "$DR_BYTES" ]; then rm -f -- "$dr_stored"; fi
    dr_fetch "$dr_stored" "$DR_BYTES"
  fi
  dr_sha=$(sha256sum <"$dr_stored")
  dr_sha=${dr_sha%% *}
  dr_fact sha256 "$dr_sha"
  if [ -n "$DR_SHA256" ] && [ "$dr_sha" != "$DR_SHA256" ]; then
    rm -f -- "$dr_stored"
    dr_fail damaged "the backup's SHA-256 is $dr_sha, its manifest says $DR_SHA256"
  fi

  # Bytes that do not open are not worth resuming from.
  dr_suspect=1
  dr_at_end dr_distrust
  dr_phase decode
  dr_dump=$dr_place/opened
  dr_decode "$dr_stored" "$dr_dump" 262144
  dr_suspect=0
  dr_fact form "$dr_form"
  rm -f -- "$dr_stored"
}
