# Makes a small signed package repository in $1: two versions of a package that no machine has, and a key that is used once.
set -eu
to=$1
work=$(mktemp -d)
trap 'gpgconf --homedir "$work/gpg" --kill all 2>/dev/null; rm -rf "$work"' EXIT
architecture=$(dpkg --print-architecture)
index=dists/stable/main/binary-$architecture
mkdir -p "$to/pool" "$to/$index"

for version in 1.0 1.1; do
  root=$work/$version
  mkdir -p "$root/DEBIAN" "$root/opt/shop-report"
  printf '%s\n' 'Package: shop-report' "Version: $version" 'Architecture: all' 'Maintainer: The shop <ops@shop.example>' \
    'Section: misc' 'Priority: optional' 'Description: reports of the shop' >"$root/DEBIAN/control"
  # Two words more, and it writes its report into that file again and again: report SECONDS FILE.
  cat >"$root/opt/shop-report/report" <<END
#!/bin/sh
while [ \$# = 2 ]; do
  echo "shop-report $version" >"\$2.new" && mv "\$2.new" "\$2"
  sleep "\$1"
done
echo 'shop-report $version'
END
  # What an installation leaves that was not cut off half way.
  printf '%s\n' '#!/bin/sh' 'set -e' 'mkdir -p /var/lib/shop-report' "echo $version >/var/lib/shop-report/configured" >"$root/DEBIAN/postinst"
  chmod 755 "$root/DEBIAN/postinst" "$root/opt/shop-report/report"
  name=pool/shop-report_${version}_all.deb
  dpkg-deb --root-owner-group --build "$root" "$to/$name" >/dev/null
  dpkg-deb --field "$to/$name" >>"$to/$index/Packages"
  printf '%s\n' "Filename: $name" "Size: $(stat -c %s "$to/$name")" "SHA256: $(sha256sum <"$to/$name" | cut -d ' ' -f 1)" '' >>"$to/$index/Packages"
done

file=main/binary-$architecture/Packages
printf '%s\n' 'Origin: shop' 'Label: shop' 'Suite: stable' 'Codename: stable' "Date: $(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S UTC')" \
  "Architectures: $architecture" 'Components: main' 'SHA256:' \
  " $(sha256sum <"$to/dists/stable/$file" | cut -d ' ' -f 1) $(stat -c %s "$to/dists/stable/$file") $file" >"$work/Release"
mkdir -m 700 "$work/gpg"
sign() { gpg --batch --quiet --homedir "$work/gpg" --pinentry-mode loopback --passphrase '' "$@" </dev/null; }
sign --quick-generate-key 'The shop <ops@shop.example>' ed25519 sign never 2>/dev/null
sign --armor --export >"$to/key.asc"
sign --clearsign --output "$to/dists/stable/InRelease" "$work/Release"
