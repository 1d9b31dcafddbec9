#!/bin/sh
# A region is lost, and comes back: the failover of plans/region-failover.yaml before your eyes, in a sandbox on this
# machine. Nothing is pretended but the cloud.
#
#   scripts/demo.sh            plays it and takes everything down again
#   KEEP=1 scripts/demo.sh     leaves the sandbox running, to look around
#   DR_PLAN=path scripts/demo.sh     with another binary
set -eu
cd "$(dirname "$0")/.."
# One stream: what the programs say stands where they said it, also in a file.
exec 2>&1

world=demo # the one that inventories/sandbox.yaml names
dr=${DR_PLAN:-target/release/dr-plan}
[ -x "$dr" ] || dr=target/debug/dr-plan
[ -x "$dr" ] || { echo "there is no program yet: cargo build --release" >&2; exit 1; }

# ---- small things

act() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || act() { printf '\n%s\n' "$*"; }
show() { printf '  $ %s\n' "$*"; }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
inside() { "$dr" sandbox exec --world $world -- "$@"; }
now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }
milliseconds() { date -u -d "$1" +%s%3N; }
# field NAME: the value of a field in the one-line JSON on standard input.
field() { sed -n "s/.*\"$1\" *: *\"\{0,1\}\([^\",}]*\)\"\{0,1\}.*/\1/p"; }
# Its certificate is signed by an authority of its own, which customers trust.
page() { path=$1; shift; inside curl --silent --show-error --fail --cacert /run/dr-plan/shop_ca.pem "$@" "https://shop.example$path"; }
order() { page /orders --data '{"cents": '"$1"'}'; }
picture() { page /media/picture-7.bin | sha256sum; }
newest() { page /orders/newest; }

ours=
finish() {
  code=$?
  trap - EXIT
  if [ -n "$ours" ]; then
    if [ "${KEEP:-}" = 1 ]; then
      printf '\nthe sandbox is still up:  %s sandbox shell    %s sandbox down\n' "$dr" "$dr"
    else
      "$dr" --quiet sandbox down $world
      printf '\nthe sandbox is gone; the run and its report stay.\n'
    fi
  fi
  exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- the shop, a day like any other

if "$dr" --quiet sandbox status $world > /dev/null 2>&1; then
  fail "a sandbox \`$world\` is running already, and may be yours: $dr sandbox down $world"
fi
act 'A small shop, in region fsn1 of a cloud on this machine'
show "$dr sandbox up --estate shop"
ours=1
"$dr" sandbox up $world --estate shop

act 'It has backups: one from each of the last three nights'
for days in 3 2 1; do
  inside scripts/demo-backup.sh "$(date -u -d "$days days ago" +%Y%m%dT030000Z)"
done

act 'Customers order'
for cents in 1250 4999 730 12900 2475; do order $cents; echo; done | sed 's/^/  /'

act 'Tonight'\''s backups: pg_dump -Fc, an RDB file, tar archives of pictures and configuration; gpg, S3'
backed_up=$(newest)
picture=$(picture)
taken=$(date -u +%Y%m%dT%H%M%SZ)
inside scripts/demo-backup.sh "$taken"

act 'Customers go on ordering; no backup has these'
for cents in 890 15600 3320; do order $cents; echo; done | sed 's/^/  /'
last=$(newest)

# ---- the night

lost_at=$(now)
act "$lost_at: region fsn1 is gone"
show "$dr sandbox break region fsn1"
"$dr" sandbox break region fsn1 2>&1 | sed 's/^/  /'
show 'curl https://shop.example/health'
if page /health --max-time 5; then
  fail 'the shop still answers: its region was not lost'
fi

act 'The recovery'
show "$dr run plans/region-failover.yaml --lost-at $lost_at --yes --approve go"
code=0
"$dr" run plans/region-failover.yaml --lost-at "$lost_at" --yes --approve go || code=$?
[ $code -eq 0 ] || fail "the run ended with exit code $code"

# ---- is it true?

act 'The shop again, by its name, through the caching resolver'
show 'curl https://shop.example/orders/newest'
came_back=$(newest)
printf '  %s\n' "$came_back"
[ "$came_back" = "$backed_up" ] || fail "the newest order is not the newest of the backup: $backed_up"
show 'curl https://shop.example/media/picture-7.bin | sha256sum'
printf '  %s\n' "$(picture)"
[ "$(picture)" = "$picture" ] || fail "that picture is another one than before: $picture"
show "$dr ssh last db     the number of keys in Redis"
# shellcheck disable=SC2016
"$dr" ssh last db -- '{ sed s/^requirepass/AUTH/ /etc/redis/password.conf; echo DBSIZE; } | redis-cli | tail -n 1' | sed 's/^/  /'
show 'curl https://shop.example/takings     what cron writes down'
page /takings | sed 's/^/  /'
echo
show 'curl --data ... https://shop.example/orders'
order 1999 | sed 's/^/  /'
echo

act 'What the report says, compared with what we know'
report=$("$dr" report last --format json) || fail 'there is no report'
rpo=$(printf '%s\n' "$report" | sed -n '/"rpo"/,/}/s/^ *"measured": *\([0-9.]*\).*/\1/p' | head -n 1)
[ -n "$rpo" ] || fail 'the report has no RPO'
expected=$(($(milliseconds "$lost_at") - $(milliseconds "$(printf '%s\n' "$backed_up" | field created_at)")))
printf '  lost at                     %s\n' "$lost_at"
printf '  newest order in the backup  %s\n' "$(printf '%s\n' "$backed_up" | field created_at)"
printf '  RPO by these two            %s.%03d s\n' $((expected / 1000)) $((expected % 1000))
printf '  RPO in the report           %s s\n' "$rpo"
# shellcheck disable=SC2016
awk -v a="$rpo" -v b="$expected" 'BEGIN { d = a - b / 1000; if (d < 0) d = -d; exit !(d <= 1) }' ||
  fail 'the report is wrong about the RPO'
orders=$(($(printf '%s\n' "$last" | field id) - $(printf '%s\n' "$backed_up" | field id)))
printf '  orders that this cost       %s\n' "$orders"
run=$(printf '%s\n' "$report" | sed -n 's/^  "run": "\(.*\)",$/\1/p')
path=${DR_PLAN_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/dr-plan}/runs/$run/report.md
[ -s "$path" ] || fail "there is no $path"
printf '\nreport: %s\n' "$path"
