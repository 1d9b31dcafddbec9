# dr_fetch FILE BYTES: gets $DR_SECRET_URL into FILE, which may hold the beginning already.
# Only curl's standard input ever carries the URL. Broken connections are taken up where they broke.
dr_curl_config() {
  # A server of a drill lets nobody else to the store: its rules know our fetching by these ports.
  if [ -e /etc/systemd/system/dr-plan-drill.service ]; then echo 'local-port = "61000-65535"'; fi
  printf 'url = "%s"\n' "$(printf '%s' "$DR_SECRET_URL" | sed 's/[\\"]/\\&/g')"
}
dr_fetch() {
  dr_to=$1
  dr_bytes=$2
  dr_tries=0
  command -v curl >/dev/null || dr_fail not_found 'this host has no `curl`: add the package `curl`'
  dr_watch_file fetch "$dr_to" "$dr_bytes"
  while [ "$(dr_size "$dr_to")" -lt "$dr_bytes" ]; do
    dr_before=$(dr_size "$dr_to")
    set +e
    dr_http=$(dr_curl_config | curl --disable --config - --globoff --proto =http,https \
      --silent --show-error --fail --connect-timeout 20 --speed-time 60 --speed-limit 1024 \
      --continue-at - --output "$dr_to" --write-out '%{http_code}' 2>"$dr_to.said")
    dr_curl=$?
    set -e
    if [ "$dr_curl" -eq 0 ]; then break; fi
    if [ "$dr_curl" -eq 33 ]; then rm -f -- "$dr_to"; fi
    if [ "$dr_curl" -eq 23 ]; then
      dr_fail other "no room to fetch the backup to $dr_to: $(dr_words "$dr_to.said")"
    fi
    case "$dr_http" in
      401 | 403) dr_fail denied "the store refuses the presigned URL (HTTP $dr_http); it may have run out, or a clock is wrong: this host says $(date -u +%Y-%m-%dT%H:%M:%SZ)" ;;
      404) dr_fail not_found "the store says that it has no such backup (HTTP 404)" ;;
      416) dr_fail damaged "the store has fewer bytes than its listing said" ;;
    esac
    # Progress earns patience: only tries that got nothing count.
    if [ "$(dr_size "$dr_to")" -gt "$dr_before" ]; then dr_tries=0; else dr_tries=$((dr_tries + 1)); fi
    if [ "$dr_tries" -ge 6 ]; then
      dr_fail unreachable "cannot fetch the backup (curl $dr_curl, HTTP $dr_http): $(dr_words "$dr_to.said")"
    fi
    sleep "$dr_tries"
  done
  dr_unwatch
  rm -f -- "$dr_to.said"
  dr_have=$(dr_size "$dr_to")
  if [ "$dr_have" -ne "$dr_bytes" ]; then
    dr_fail damaged "the backup has $dr_have bytes, not the $dr_bytes of the listing"
  fi
  dr_progress fetch "$dr_have" "$dr_bytes"
}
