# A backup of the shop as a person makes it, inside the world: dumped on the database server, encrypted, stored, and
# entered in the manifest. `backup.sh TIME FOLDER [cut]`; cut: the dump loses its end before it is encrypted.
set -eu
secrets=/run/dr-plan/secrets
bucket=http://198.18.255.2/shop-backups/postgres
name=shop-$1.dump.gpg
folder=$2
export GNUPGHOME="$folder/gnupg"
mkdir -p -m 700 "$GNUPGHOME"
put() {
  printf 'user = "%s:%s"\n' "$(cat $secrets/s3_access_key)" "$(cat $secrets/s3_secret_key)" |
    curl -sS --fail -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:eu:s3 -K - -T "$1" "$bucket/$2"
}
ssh -q -F none -i $secrets/login -o UserKnownHostsFile=/run/dr-plan/known_hosts -o BatchMode=yes root@198.18.1.1 \
  'cd / && runuser -u postgres -- pg_dump -Fc shop' >"$folder/dump"
if [ "${3:-}" = cut ]; then truncate -s -600 "$folder/dump"; fi
gpg --batch --quiet --yes --pinentry-mode loopback --passphrase-file $secrets/backup_passphrase \
  --symmetric --cipher-algo AES256 -o "$folder/$name" "$folder/dump"
gpgconf --kill all
put "$folder/$name" "$name"
printf '{"artifact":"%s","bytes":%s,"sha256":"%s"}\n' "$name" "$(stat -c %s "$folder/$name")" \
  "$(sha256sum <"$folder/$name" | cut -d' ' -f1)" >>"$folder/manifest.ndjson"
put "$folder/manifest.ndjson" manifest.ndjson
