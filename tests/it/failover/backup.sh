# Backups of the shop as a person makes them, inside the world: dumped on its servers, encrypted, stored, and entered in the
# manifests. `backup.sh TIME FOLDER [cut]`; cut: the database's dump loses its end before it is encrypted.
set -eu
secrets=/run/dr-plan/secrets
bucket=http://198.18.255.2/shop-backups
folder=$2
export GNUPGHOME="$folder/gnupg"
mkdir -p -m 700 "$GNUPGHOME"
put() {
  printf 'user = "%s:%s"\n' "$(cat $secrets/s3_access_key)" "$(cat $secrets/s3_secret_key)" |
    curl -sS --fail -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:eu:s3 -K - -T "$1" "$bucket/$2"
}
on() {
  ssh -q -F none -i $secrets/login -o UserKnownHostsFile=/run/dr-plan/known_hosts -o BatchMode=yes "root@$1" "$2"
}
keep() {
  gpg --batch --quiet --yes --pinentry-mode loopback --passphrase-file $secrets/backup_passphrase \
    --symmetric --s2k-count 65536 --cipher-algo AES256 -o "$folder/$2" "$folder/dump"
  put "$folder/$2" "$1/$2"
  printf '{"artifact":"%s","bytes":%s,"sha256":"%s"}\n' "$2" "$(stat -c %s "$folder/$2")" \
    "$(sha256sum <"$folder/$2" | cut -d' ' -f1)" >>"$folder/manifest-$1"
  put "$folder/manifest-$1" "$1/manifest.ndjson"
}
on 198.18.1.1 'cd / && runuser -u postgres -- pg_dump -Fc shop' >"$folder/dump"
if [ "${3:-}" = cut ]; then truncate -s -600 "$folder/dump"; fi
keep postgres "shop-$1.dump.gpg"
on 198.18.1.1 '{ sed "s/^requirepass/AUTH/" /etc/redis/password.conf; echo SAVE; } | redis-cli >/dev/null; cat /var/lib/redis/dump.rdb' >"$folder/dump"
keep redis "cache-$1.rdb.gpg"
on 198.18.1.2 'tar -C /srv/shop/media --format=posix -cf - . | gzip' >"$folder/dump"
keep media "media-$1.tar.gz.gpg"
on 198.18.1.2 'tar -C / --format=posix -cf - etc/nginx/sites-enabled/shop.conf etc/cron.d/shop | gzip' >"$folder/dump"
keep config "config-$1.tar.gz.gpg"
gpgconf --kill all
