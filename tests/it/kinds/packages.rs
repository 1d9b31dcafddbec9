//! Packages: from a signed repository, an exact version, after an installation that was cut off, and never from a stranger.

use crate::guards::shop::Shop;

const PLAN: &str = "
version: 1
name: packages
inventory: ../inventories/sandbox.yaml
steps:
  install:
    uses: host.packages
    with:
      host: web-1
      packages: [shop-report]
      repository: { name: shop, url: \"http://198.18.255.6\", suite: stable, components: [main], key: KEY }
";

const KEY: &str = "/run/dr-plan/services/repository/key.asc";

#[test]
fn packages_come_from_a_signed_repository_in_the_wanted_version_and_finish_what_was_cut_off() {
    let shop = Shop::up();
    // Somebody else's key: what the repository signs is believed by nobody.
    shop.inside(
        "d=$(mktemp -d); gpg --batch --quiet --homedir $d --pinentry-mode loopback --passphrase '' \
           --quick-generate-key 'A stranger' ed25519 sign never 2> /dev/null
         gpg --batch --quiet --homedir $d --export > /run/stranger.gpg; gpgconf --homedir $d --kill all; rm -rf $d",
    );
    let plan = shop.plan("packages", &PLAN.replace("KEY", "/run/stranger.gpg"));
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(4), "{}", ran.said());
    assert!(ran.said().contains("NO_PUBKEY"), "{}", ran.said());
    let web = "shop-web-1";
    let state = "dpkg-query -W -f '${db:Status-Status} ${Version}' shop-report 2>&1 || true";
    assert!(shop.on(web, state).contains("no packages found"));

    // The right one, on the same server.
    let again = |text: &str| shop.plan("packages", &text.replace("KEY", KEY));
    let ran = shop.run(&again(PLAN), &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    assert_eq!(shop.on(web, state), "installed 1.1");
    assert_eq!(
        ran.noted("install", "before").unwrap()["shop-report"],
        serde_json::Value::Null
    );

    // An older version by name, after an installation that lost its power.
    shop.on(
        web,
        "sed -i '/^Package: shop-report$/,/^$/ s/^Status: .*/Status: install ok half-configured/' /var/lib/dpkg/status
         awk '/^Package: shop-report$/, /^$/' /var/lib/dpkg/status > /var/lib/dpkg/updates/0001
         rm -rf /var/lib/shop-report
         ! apt-get install -q -y shop-report > /root/said 2>&1; grep -q 'dpkg --configure -a' /root/said",
    );
    assert_eq!(shop.on(web, state), "half-configured 1.1");
    // Meanwhile somebody else has the locks, until they are seen to be waited for (dpkg and apt lock with fcntl(2)).
    shop.on(
        web,
        r#"cat > /root/hold.pl <<'END'
use Fcntl qw(:DEFAULT :seek);
for my $file ('/var/lib/dpkg/lock-frontend', '/var/lib/dpkg/lock', '/var/lib/apt/lists/lock') {
    open(my $lock, '>>', $file) or die;
    my $all = pack('s s l! l! l', F_WRLCK, SEEK_SET, 0, 0, 0);
    fcntl($lock, F_SETLK, $all) or die "$file: $!";
    push @held, $lock;
}
$| = 1;
print "held\n";
select(undef, undef, undef, 0.05) until -e '/root/release';
END
setsid perl /root/hold.pl > /root/held 2>&1 < /dev/null &
i=0; until grep -q held /root/held; do i=$((i+1)); test $i -lt 100; sleep 0.1; done"#,
    );
    let older = PLAN.replace("[shop-report]", "[shop-report=1.0]");
    let going = shop.begin(&again(&older), &[]);
    going.until(&shop, "it waits for the lock", |what| {
        what.to_string().contains("waiting for a lock")
    });
    shop.on(web, "touch /root/release");
    let ran = going.ended(&shop);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    assert_eq!(shop.on(web, state), "installed 1.0");
    assert_eq!(
        shop.on(web, "cat /var/lib/shop-report/configured").trim(),
        "1.0"
    );
    let said = ran.said();
    for words in ["finishing what an interrupted", "waiting for a lock"] {
        assert!(said.contains(words), "`{words}` is not said: {said}");
    }

    // What cannot be had is said by apt's own words, and nothing changes.
    let none = PLAN.replace("[shop-report]", "[shop-report, no-such-package]");
    let ran = shop.run(&again(&none), &[]);
    assert_eq!(ran.code, Some(4), "{}", ran.said());
    assert!(
        ran.said()
            .contains("Unable to locate package no-such-package"),
        "{}",
        ran.said()
    );
    assert_eq!(shop.on(web, state), "installed 1.0");

    // A person hears what stood there before.
    let said = shop
        .dr(&["undo", ran.id(), "install", "--yes"])
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(said.contains("install"), "{said}");
}
