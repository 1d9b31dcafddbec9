#!/bin/sh
# One backup of the shop's database, of its carts, of its pictures and of its configuration, as a person would make them: dumped on the
# servers, encrypted here with gpg, put into the store, and entered in the manifest beside it. Runs inside the sandbox.
#
#   scripts/demo-backup.sh NAME_TIME      such as 20261121T030000Z
set -eu
secrets=/run/dr-plan/secrets
bucket=http://198.18.255.2/shop-backups

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

on() {
  ssh -F none -i $secrets/login -o UserKnownHostsFile=/run/dr-plan/known_hosts -o BatchMode=yes "root@$1" "$2"
}
# keep FOLDER NAME: encrypts what was dumped, stores it, and enters it in the folder's manifest.
keep() {
  gpg --batch --quiet --pinentry-mode loopback --passphrase-file $secrets/backup_passphrase \
    --symmetric --cipher-algo AES256 --output "$work/$2" "$work/dump"
  bytes=$(stat -c %s "$work/$2")
  put "$work/$2" "$1/$2"
  # The manifest names what lies in the store, so it follows it there.
  get "$1/manifest.ndjson" > "$work/manifest" 2> "$work/said" || grep -q 404 "$work/said" || { cat "$work/said" >&2; exit 1; }
  printf '{"artifact":"%s","bytes":%s,"sha256":"%s"}\n' "$2" "$bytes" "$(hash "$work/$2")" >> "$work/manifest"
  put "$work/manifest" "$1/manifest.ndjson"
  printf '  %s  %s bytes\n' "$2" "$bytes"
}

on 198.18.1.1 'cd / && setpriv --reuid=postgres --regid=postgres --init-groups pg_dump -Fc shop' > "$work/dump"
keep postgres "shop-$1.dump.gpg"
# redis-cli reads the password with its commands.
on 198.18.1.1 '{ sed "s/^requirepass/AUTH/" /etc/redis/password.conf; echo SAVE; } | redis-cli | grep -vx OK
  cat /var/lib/redis/dump.rdb' > "$work/dump"
keep redis "cache-$1.rdb.gpg"
on 198.18.1.2 'tar -C /srv/shop/media --format=posix -cf - . | gzip' > "$work/dump"
keep media "media-$1.tar.gz.gpg"
on 198.18.1.2 'tar -C / --format=posix -cf - etc/nginx/sites-enabled/shop.conf etc/cron.d/shop | gzip' > "$work/dump"
keep config "config-$1.tar.gz.gpg"
gpgconf --kill all
