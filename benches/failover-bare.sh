#!/bin/bash
# The recovery of plans/region-failover.yaml as a bare script: the same order of work, the same things side by side, the same
# questions to the world before and after. It has no journal, no resume, no report and no second try; it is what the
# program's own cost is measured against. Runs inside a sandbox:
#
#   dr-plan sandbox exec -- benches/failover-bare.sh
#
# Prints `healthy SECONDS` and `wall SECONDS`, both counted from its start.
set -euo pipefail
began=$(date +%s%N)
since() { awk -v n="$(($(date +%s%N) - began))" 'BEGIN { printf "%.2f", n / 1e9 }'; }
here=$(cd "$(dirname "$0")/.." && pwd)
secrets=/run/dr-plan/secrets
cloud=http://198.18.255.1/v1
zone=http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example.
bucket=http://198.18.255.2/shop-backups
work=$(mktemp -d)
cleanup() {
  for socket in "$work"/master-*; do [ -S "$socket" ] && ssh -F none -o ControlPath="$socket" -O exit x 2> /dev/null; done
  rm -rf "$work"
}
trap cleanup EXIT
umask 077
fail() { echo "bare: $*" >&2; exit 1; }

# Secrets are read from files by the programs themselves, or go through standard input.
printf 'header = "Authorization: Bearer %s"\n' "$(cat $secrets/hcloud_token)" > "$work/cloud.conf"
printf 'header = "X-API-Key: %s"\n' "$(cat $secrets/powerdns_key)" > "$work/names.conf"
printf 'aws-sigv4 = "aws:amz:eu:s3"\nuser = "%s:%s"\nheader = "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"\n' \
  "$(cat $secrets/s3_access_key)" "$(cat $secrets/s3_secret_key)" > "$work/store.conf"
ask() { curl -sS --fail --max-time 30 "$@"; }
cloud() { ask -K "$work/cloud.conf" -H 'content-type: application/json' "$@"; }
number() { grep -o "\"$1\" *: *[0-9]*" | head -n 1 | grep -o '[0-9]*$'; }
text() { grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
all() { local job; for job in "$@"; do wait "$job" || exit 1; done; }

# ---- assess
newest() { # PREFIX
  ask -K "$work/store.conf" "$bucket?list-type=2&prefix=$1" | grep -o '<Key>[^<]*' | cut -c 6- | sort | tail -n 1
}
judge() { # BACKUP: its hash as the manifest has it
  [ -n "$1" ] || fail 'there is no backup'
  ask -K "$work/store.conf" "$bucket/${1%/*}/manifest.ndjson" | grep -F "\"${1##*/}\"" > "$work/entry-${1%%/*}"
  [ "$(ask -K "$work/store.conf" -r 0-15 "$bucket/$1" | head -c 2 | od -An -tx1 | tr -d ' ')" = 8c0d ] || fail "$1 is no gpg file"
  text sha256 < "$work/entry-${1%%/*}"
}
backup=$(newest postgres%2Fshop-) cache=$(newest redis%2Fcache-) media=$(newest media%2Fmedia-) config=$(newest config%2Fconfig-)
sum=$(judge "$backup") cache_sum=$(judge "$cache") media_sum=$(judge "$media") config_sum=$(judge "$config")

# ---- fence
off() {
  local id action
  id=$(cloud "$cloud/servers?name=$1" | number id)
  action=$(cloud -X POST "$cloud/servers/$id/actions/poweroff" | number id)
  until [ "$(cloud "$cloud/actions/$action" | text status)" = success ]; do sleep 0.1; done
  [ "$(cloud "$cloud/servers/$id" | grep -o '"status": *"[a-z]*"' | head -n 1 | cut -d '"' -f 4)" = off ] || fail "$1 is not off"
}

# ---- servers
ssh_to() { # ROLE SCRIPT...: standard input is the caller's
  local role=$1; shift
  ssh -F none -q -i $secrets/login -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=yes \
    -o UserKnownHostsFile="$work/known-$role" -o GlobalKnownHostsFile=/dev/null -o HostKeyAlias="$role" \
    -o ControlMaster=auto -o ControlPath="$work/master-$role" -o ControlPersist=60 "root@$(cat "$work/address-$role")" "$@"
}
forget() { ssh -F none -q -o ControlPath="$work/master-$1" -O exit x 2> /dev/null || true; }
create() { # ROLE TYPE PACKAGE
  local role=$1 id answer first
  ssh-keygen -q -t ed25519 -N '' -C '' -f "$work/first-$role"
  {
    printf '#cloud-config\nssh_deletekeys: true\nssh_pwauth: false\ndisable_root: false\npackage_update: true\npackages: [%s]\n' "$3"
    printf 'users: [{name: root, ssh_authorized_keys: ["%s"]}]\nssh_keys:\n  ed25519_public: "%s"\n  ed25519_private: |\n' \
      "$(cat $secrets/login.pub)" "$(cat "$work/first-$role.pub")"
    sed 's/^/    /' "$work/first-$role"
  } | awk 'BEGIN { ORS = "\\n" } { gsub(/"/, "\\\""); print }' > "$work/data-$role"
  printf '{"name":"bare-%s","location":"nbg1","server_type":"%s","image":"debian-12","user_data":"%s"}' \
    "$role" "$2" "$(cat "$work/data-$role")" > "$work/order-$role"
  answer=$(cloud -d @"$work/order-$role" "$cloud/servers")
  id=$(printf '%s' "$answer" | sed 's/.*"server": *//' | number id)
  until answer=$(cloud "$cloud/servers/$id") && printf '%s' "$answer" | grep -q '"status": *"running"'; do sleep 0.1; done
  printf '%s' "$answer" | text ip > "$work/address-$role"
  first=$(cut -d ' ' -f 1,2 "$work/first-$role.pub")
  echo "$role $first" > "$work/known-$role"
  until ssh_to "$role" true 2> /dev/null; do sleep 0.1; done
  ssh_to "$role" sh -s << 'END'
    set -eu
    until [ -e /var/lib/cloud/instance/boot-finished ]; do sleep 0.1; done
    cloud-init status | grep -q 'status: done'
END
  # A key that nobody but the host has seen.
  ssh_to "$role" sh -s > "$work/own-$role" << 'END'
    set -eu
    umask 077
    ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/new
    cut -d ' ' -f 1,2 /etc/ssh/new.pub
    rm -f /etc/ssh/ssh_host_*
    mv /etc/ssh/new.pub /etc/ssh/ssh_host_ed25519_key.pub
    mv /etc/ssh/new /etc/ssh/ssh_host_ed25519_key
    rm -f /var/lib/cloud/instance*/user-data.txt* /var/lib/cloud/instances/*/user-data.txt*
    sync -f /etc/ssh
    sshd -t 2> /dev/null || /usr/sbin/sshd -t
    systemctl reload ssh
END
  forget "$role"
  if ssh_to "$role" true 2> /dev/null; then fail "$role still shows its first key"; fi
  echo "$role $(cat "$work/own-$role")" > "$work/known-$role"
  until ssh_to "$role" uname -nr > /dev/null; do sleep 0.1; done
  touch "$work/created-$role"
}
put() { # ROLE PATH OWNER MODE: content on standard input
  cat > "$work/put-$1-${2##*/}"
  ssh_to "$1" "set -eu; umask 077; mkdir -p -m 755 \"\$(dirname $2)\"; cat > $2.new; chown $3 $2.new; chmod $4 $2.new; sync -f $2.new; mv $2.new $2" \
    < "$work/put-$1-${2##*/}"
  [ "$(ssh_to "$1" "stat -c '%U:%G %a' $2; sha256sum < $2 | cut -d ' ' -f 1" | tr '\n' ' ')" = \
    "$3 $4 $(sha256sum < "$work/put-$1-${2##*/}" | cut -d ' ' -f 1) " ] || fail "$2 on $1 is not as wanted"
}
service() { # ROLE VERB UNIT
  ssh_to "$1" "systemctl daemon-reload; systemctl enable $3 > /dev/null 2>&1; systemctl $2 $3; systemctl is-active $3 > /dev/null && sleep 0.15 && systemctl is-active $3 > /dev/null && systemctl is-enabled $3 > /dev/null" ||
    fail "$3 on $1 is not active"
}

# ---- the database
role() {
  { cat << 'END'
set -eu
cd /
password=$(cat <<'PASSWORD'
END
    cat $secrets/shop_database_password
    cat << 'END'

PASSWORD
)
runuser -u postgres -- psql -X -q -v ON_ERROR_STOP=1 << SQL
create role shop login password '$password';
SQL
runuser -u postgres -- psql -X -At -c "select 1 from pg_authid where rolname = 'shop' and rolcanlogin and rolpassword like 'SCRAM-SHA-256\$%'" | grep -q 1
END
  } | ssh_to db sh -s
}
restore() {
  ask -K "$work/store.conf" -o "$work/backup" "$bucket/$backup"
  ssh_to db "install -d -m 700 -o postgres -g postgres /var/lib/postgresql/bare; cat > /var/lib/postgresql/bare/backup; chown postgres: /var/lib/postgresql/bare/backup" < "$work/backup"
  { printf 'set -eu\ncd /var/lib/postgresql/bare\nsum=%s\n' "$sum"
    cat << 'END'
[ "$(sha256sum < backup | cut -d ' ' -f 1)" = "$sum" ]
mkdir -m 700 gnupg
gpg --homedir gnupg --batch -q --pinentry-mode loopback --passphrase-fd 3 -o dump -d backup 3<< 'PASSPHRASE'
END
    cat $secrets/backup_passphrase
    cat << 'END'

PASSPHRASE
gpgconf --homedir gnupg --kill all
# Read to its end before anything is applied.
pg_restore -f /dev/null dump
sql() { psql -X -q -At -v ON_ERROR_STOP=1 "$@"; }
[ "$(sql postgres -c "select count(*) from pg_database where datname = 'shop'")" = 0 ]
createdb -T template0 -O shop shop_staged
pg_restore --exit-on-error --jobs "$(($(nproc) + 1))" -d shop_staged dump
vacuumdb --analyze-only -q --jobs "$(($(nproc) + 1))" -d shop_staged
check() {
  [ "$(sql "$1" -c 'select count(*) from users')" -ge 1000 ]
  [ "$(sql "$1" -c 'select count(*) from orders')" -ge 1 ]
  [ "$(sql "$1" -c "select max(created_at) > now() - interval '15 minutes' from orders")" = t ]
  [ "$(sql "$1" -c 'select count(*) from pg_index where not indisvalid')" = 0 ]
}
sql shop_staged -c checkpoint
check shop_staged
sql postgres -c 'alter database shop_staged rename to shop'
check shop
rm -rf /var/lib/postgresql/bare
END
  } | ssh_to db runuser -u postgres -- sh -s
}

# ---- Redis and the pictures
opened() { # FOLDER SUM NAME: the first lines of a script that opens FOLDER/backup as NAME
  printf 'set -eu\ncd %s\n[ "$(sha256sum < backup | cut -d " " -f 1)" = %s ]\nmkdir -m 700 gnupg\n' "$1" "$2"
  printf "gpg --homedir gnupg --batch -q --pinentry-mode loopback --passphrase-fd 3 -o %s -d backup 3<< 'PASSPHRASE'\n" "$3"
  cat $secrets/backup_passphrase
  printf '\nPASSPHRASE\ngpgconf --homedir gnupg --kill all\n'
}
restore_cache() {
  ask -K "$work/store.conf" -o "$work/cache" "$bucket/$cache"
  ssh_to db "install -d -m 700 /var/lib/redis/bare; cat > /var/lib/redis/bare/backup" < "$work/cache"
  { opened /var/lib/redis/bare "$cache_sum" dump.rdb
    cat << 'END'
redis-check-rdb dump.rdb > /dev/null
chown -R redis: .
runuser -u redis -- redis-server --port 0 --unixsocket "$PWD/socket" --unixsocketperm 700 --dir "$PWD" --dbfilename dump.rdb \
  --appendonly no --save '' --daemonize yes --logfile "$PWD/log"
staged() { redis-cli -s socket "$@"; }
until [ "$(staged ping 2> /dev/null)" = PONG ]; do sleep 0.02; done
keys=$(staged dbsize)
[ "$keys" -ge 100 ] && [ "$(staged get shop:visits)" -ge 4711 ]
staged config set appendonly yes > /dev/null
until staged info persistence | tr -d '\r' | grep -q '^aof_rewrite_in_progress:0' && staged info persistence | tr -d '\r' | grep -q '^aof_last_bgrewrite_status:ok'; do sleep 0.05; done
staged shutdown 2> /dev/null || true
live() { { sed 's/^requirepass/AUTH/' /etc/redis/password.conf; echo "$1"; } | redis-cli | tail -n 1; }
[ "$(live dbsize)" = 0 ]
systemctl stop redis-server
rm -rf /var/lib/redis/appendonlydir
mv appendonlydir /var/lib/redis/
systemctl start redis-server
until [ "$(live ping)" = PONG ]; do sleep 0.05; done
[ "$(live dbsize)" = "$keys" ]
rm -rf /var/lib/redis/bare
END
  } | ssh_to db sh -s
}
restore_media() {
  ask -K "$work/store.conf" -o "$work/media" "$bucket/$media"
  ssh_to web "install -d -m 700 /srv/shop/bare; cat > /srv/shop/bare/backup" < "$work/media"
  { opened /srv/shop/bare "$media_sum" media.tar.gz
    cat << 'END'
gzip -dc media.tar.gz > media.tar
tar -tf media.tar > list
! grep -qE '^/|(^|/)\.\.(/|$)' list
mkdir media
tar -C media --numeric-owner -xpf media.tar
tar -C media --compare -f media.tar
[ "$(find media -type f | wc -l)" -ge 10 ] && [ -e media/picture-7.bin ]
[ ! -e /srv/shop/media ]
mv media /srv/shop/media
rm -rf /srv/shop/bare
END
  } | ssh_to web sh -s
}

restore_config() {
  ask -K "$work/store.conf" -o "$work/config" "$bucket/$config"
  ssh_to web "install -d -m 700 /var/lib/bare; cat > /var/lib/bare/backup" < "$work/config"
  { opened /var/lib/bare "$config_sum" config.tar.gz
    cat << 'END'
files='etc/nginx/sites-enabled/shop.conf etc/cron.d/shop'
mkdir new
gzip -dc config.tar.gz > config.tar
tar -C new --numeric-owner -xpf config.tar $files
tar -C new --compare -f config.tar $files
for file in $files; do [ -f "new/$file" ] && [ ! -L "new/$file" ] && [ ! -e "/$file" ]; done
for file in $files; do cp -a "new/$file" "/${file%/*}/.${file##*/}.new"; mv "/${file%/*}/.${file##*/}.new" "/$file"; done
nginx -t 2> /dev/null || { for file in $files; do rm "/$file"; done; exit 1; }
for file in $files; do [ "$(sha256sum < "/$file")" = "$(sha256sum < "new/$file")" ]; done
rm -rf /var/lib/bare
END
  } | ssh_to web sh -s
}
take() { # runs the line that cron has, and looks for its row
  ssh_to web 'systemctl restart cron && systemctl is-active -q cron && runuser -u www-data -- sh -c "$(sed -n "s/^\* \* \* \* \* www-data //p" /etc/cron.d/shop)"'
  [ "$(ssh_to db "cd /; runuser -u postgres -- psql -X -At shop -c \"select count(*) from takings where at > now() - interval '1 minute'\"")" -ge 1 ]
}

off shop-db-1 & fence_db=$!
off shop-web-1 & fence_web=$!
create db cx33 postgresql-15,redis-server,curl,gpg,gpg-agent & db=$!
create web cx23 nginx,cron,curl,gpg,gpg-agent & web=$!

(
  # It is no child of this shell, so it cannot be waited for.
  until [ -e "$work/created-db" ]; do [ -d "$work" ] || exit 1; sleep 0.02; done
  put db /etc/postgresql/15/main/conf.d/shop.conf root:root 644 < "$here/plans/files/shop/postgresql-shop.conf" & one=$!
  put db /etc/postgresql/15/main/pg_hba.conf postgres:postgres 640 < "$here/plans/files/shop/pg_hba.conf" & two=$!
  role & three=$!
  all $one $two $three
  service db restart postgresql
) & database=$!
(
  until [ -e "$work/created-db" ]; do [ -d "$work" ] || exit 1; sleep 0.02; done
  put db /etc/redis/redis.conf redis:redis 640 < "$here/plans/files/shop/redis.conf" & one=$!
  put db /etc/redis/password.conf redis:redis 600 < $secrets/shop_redis.conf & two=$!
  all $one $two
  service db restart redis-server
) & redis=$!
wait $web || exit 1
restore_media & pictures=$!
put web /etc/systemd/system/shop.service root:root 644 < "$here/plans/files/shop/shop.service" & one=$!
put web /etc/shop/secret.env www-data:www-data 600 < $secrets/shop_secret.env & two=$!
(
  put web /etc/shop/tls/shop.crt root:root 600 < $secrets/shop_tls.crt & one=$!
  put web /etc/shop/tls/shop.key root:root 600 < $secrets/shop_tls.key & two=$!
  all $one $two
  restore_config
  service web reload nginx
) & nginx=$!
all $one $two
wait $db || exit 1
( printf 'SHOP_DATABASE_HOST=%s\n' "$(cat "$work/address-db")" | put web /etc/shop/shop.env root:root 644; service web start shop ) & app=$!
all $fence_db $redis
restore_cache & carts=$!
all $database
restore
all $app $nginx $fence_web $carts $pictures

# ---- ready, the gate, the names
address=$(cat "$work/address-web")
page() { ask --cacert /run/dr-plan/shop_ca.pem "$@"; }
at() { page --resolve "shop.example:443:$address" "$@"; }
take & job=$!
at https://shop.example/health > /dev/null
at https://shop.example/media/2026/second.bin > /dev/null
# Its name and its authority were looked at by curl; that it lasts a week is still to be seen.
at -o /dev/null -w '%{certs}' https://shop.example/health | openssl x509 -checkend 604800 -noout > /dev/null ||
  fail 'the certificate runs out within a week'
all $job
truth=$(ssh_to db 'cd /; runuser -u postgres -- psql -X -At shop -c "select max(id) from orders"')
[ "$(at https://shop.example/orders/newest | number id)" = "$truth" ] || fail 'the new shop does not show the restored orders'
for name in shop.example. www.shop.example.; do
  printf '{"rrsets":[{"name":"%s","type":"A","ttl":5,"changetype":"REPLACE","records":[{"content":"%s","disabled":false}]}]}' $name "$address" |
    ask -K "$work/names.conf" -X PATCH -H 'content-type: application/json' -d @- "$zone" > /dev/null
done
for name in shop.example www.shop.example; do
  ask -K "$work/names.conf" "$zone" | grep -o "\"content\": *\"$address\"" > /dev/null || fail "the name server does not have $name"
  until [ "$(getent ahostsv4 $name | head -n 1 | cut -d ' ' -f 1)" = "$address" ]; do sleep 0.1; done
done

# ---- health, as users see it: green for three seconds
green=
until [ -n "$green" ] && [ $(($(date +%s%N) - green)) -ge 3000000000 ]; do
  if page https://shop.example/health > /dev/null 2>&1; then
    [ -n "$green" ] || { green=$(date +%s%N); healthy=$(since); }
  else
    green=
  fi
  sleep 0.25
done
printf '{"text":"the shop is back"}' | ask -d @- http://198.18.255.5/ops > /dev/null
echo "healthy $healthy"
echo "wall $(since)"
