#!/bin/sh
# One backup of the shop, as a person would make it: dumped on the database server, encrypted here with
# gpg, put into the store, and entered in the manifest beside it. Runs inside the sandbox.
#
#   scripts/demo-backup.sh NAME_TIME      such as 20261121T030000Z
set -eu
secrets=/run/dr-plan/secrets
bucket=http://198.18.255.2/shop-backups/postgres
name=shop-$1.dump.gpg

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077
export GNUPGHOME="$work/gnupg"
mkdir "$GNUPGHOME"

# The keys of the store come from a file: an argument can be read by everybody on the machine.
{
  printf 'aws-sigv4 = "aws:amz:eu:s3"\nuser = "'
  cat $secrets/s3_access_key
  printf ':'
  cat $secrets/s3_secret_key
  printf '"\n'
} > "$work/store.conf"
hash() { sha256sum < "$1" | cut -d ' ' -f 1; }
# S3 wants the hash of what is sent in a header; this curl does not add it by itself.
store() { curl --silent --show-error --fail --config "$work/store.conf" "$@"; }
put() { store --header "x-amz-content-sha256: $(hash "$1")" --upload-file "$1" "$bucket/$2"; }
get() { store --header "x-amz-content-sha256: $(hash /dev/null)" "$bucket/$1"; }

ssh -F none -i $secrets/login -o UserKnownHostsFile=/run/dr-plan/known_hosts -o BatchMode=yes \
  root@198.18.1.1 'cd / && setpriv --reuid=postgres --regid=postgres --init-groups pg_dump -Fc shop' > "$work/shop.dump"
gpg --batch --quiet --pinentry-mode loopback --passphrase-file $secrets/backup_passphrase \
  --symmetric --cipher-algo AES256 --output "$work/$name" "$work/shop.dump"
gpgconf --kill all

bytes=$(stat -c %s "$work/$name")
put "$work/$name" "$name"
# The manifest names what lies in the store, so it follows it there.
get manifest.ndjson > "$work/manifest" 2> "$work/said" || grep -q 404 "$work/said" || { cat "$work/said" >&2; exit 1; }
printf '{"artifact":"%s","bytes":%s,"sha256":"%s"}\n' "$name" "$bytes" "$(hash "$work/$name")" >> "$work/manifest"
put "$work/manifest" manifest.ndjson
printf '  %s  %s bytes\n' "$name" "$bytes"
