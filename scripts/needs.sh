#!/bin/sh
# What the sandbox and the demonstration need of a Debian machine, installed if it is missing. Nothing is
# downloaded when everything is there.
#
#   scripts/needs.sh            installs what is missing (as root, or with sudo)
#   scripts/needs.sh --check    only says what is missing, and ends with 1 then
set -eu

packages='
  util-linux iproute2 passwd bash tar
  openssh-server openssh-client
  postgresql-15 redis-server nginx cron openssl
  pdns-server pdns-backend-sqlite3 sqlite3 unbound
  curl gpg gpg-agent age nftables ca-certificates faketime
'
# An ordinary user maps user ids; root does not need to.
[ "$(id -u)" = 0 ] || packages="$packages uidmap"

command -v dpkg-query > /dev/null || {
  echo "needs.sh: this is no Debian system. These packages, or what they are called here, are needed:" $packages >&2
  exit 1
}
missing=
for package in $packages; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2> /dev/null) || state=
  [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "${1:-}" = --check ]; then
  echo "missing:$missing" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo > /dev/null; then
  as_root=sudo
else
  echo "needs.sh: only root can install packages. Please type, as root:" >&2
  echo "  apt-get install -y --no-install-recommends$missing" >&2
  exit 1
fi
echo "installing:$missing"
# Their services are wanted in the sandbox, not on this machine: policy-rc.d keeps them from starting here.
policy=/usr/sbin/policy-rc.d
if [ -e $policy ]; then
  made=
else
  printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy > /dev/null
  $as_root chmod 755 $policy
  made=1
fi
undo() { [ -z "$made" ] || $as_root rm -f $policy; }
trap undo EXIT
trap 'exit 130' INT TERM HUP
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; }
# The lists of packages may be missing or old: then they are fetched, and it is tried once more.
install > /dev/null 2>&1 || { $as_root apt-get update -q && install; }
