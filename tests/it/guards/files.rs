//! Trees of files: whole with everything that tar keeps, or not at all; and no archive leaves its folder.

use super::shop::{Ran, Shop, name_of};

const RESTORE: &str = "
version: 1
name: restore
inventory: ../inventories/sandbox.yaml
steps:
  restore:
    uses: dataset.restore
    with: { dataset: shop-media, host: web-1 }
    verify:
      - files: { expect: \">= 4\" }
      - file: { path: odd/a b.txt, sha256: 87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7 }
      - newest: {}
";

const WEB: &str = "shop-web-1";

/// A tree with what makes archives hard: two names of a file, links, holes, owners, odd names and times.
const TREE: &str = r#"
rm -rf /root/made; mkdir -p /root/made/odd /root/made/deep/er; cd /root/made
printf 'a\n' > 'odd/a b.txt'
printf 'x' > "odd/we\"ird
name -> x"
ln 'odd/a b.txt' deep/second
ln -s ../odd/'a b.txt' deep/link
ln -s er deep/folder
truncate -s 3M deep/holes
head -c 200000 /dev/urandom > deep/er/random
chown 33:33 deep/er/random; chown -h 1234:4321 deep/link; chmod 4755 deep/er/random; chmod 2750 deep
touch -d '2026-01-02T03:04:05.678901234Z' deep/er/random
touch -d '2026-01-02T03:04:06Z' deep odd
"#;

/// Everything of a tree that must come back.
const LIST: &str = r#"find . -printf '%P|%y|%m|%U:%G|%s|%T@|%l|%n\n' | sed '/^|/d' | sort; find . -type f -exec sha256sum {} + | sort"#;

fn store(shop: &Shop, folder: &str, command: &str) {
    // Made on the server, fetched by the one who keeps the backups.
    shop.on(
        WEB,
        &format!("cat > /root/archive.sh <<'END'\n{command}\nEND\n"),
    );
    let command = "ssh -q -n -i $S/login -o UserKnownHostsFile=/run/dr-plan/known_hosts root@198.18.1.2 'sh -eu /root/archive.sh'";
    shop.store(folder, &name_of(0), command, "$S/backup_passphrase");
}

fn refused(ran: &Ran, codes: &[i32], words: &[&str]) {
    let said = ran.said();
    assert!(codes.contains(&ran.code.unwrap()), "{:?}: {said}", ran.code);
    for word in words {
        assert!(said.contains(word), "`{word}` is not said: {said}");
    }
}

fn from(shop: &Shop, original: &str, folder: &str, more: &str) {
    shop.inventory(|_| {
        original
            .replace("\"media/media-", &format!("\"{folder}/shop-"))
            .replace(".tar.gz.gpg", ".dump.gpg")
            .replace(
                "path: /srv/shop/media, owner: www-data",
                &format!("path: /srv/shop/media{more}"),
            )
    });
}

#[test]
fn a_tree_comes_back_with_all_that_it_was_and_what_was_there_is_kept() {
    let shop = Shop::up();
    let plan = shop.plan("restore", RESTORE);
    let original = std::fs::read_to_string(shop.home().join("inventories/sandbox.yaml")).unwrap();
    shop.on(WEB, TREE);
    let made = shop.on(WEB, &format!("cd /root/made; {LIST}"));
    shop.on(WEB, "rm -rf /srv/shop/media");

    for (name, command, words) in [
        (
            "upwards",
            "mkdir -p /root/bad/b; touch /root/bad/x; ln -s ../../etc /root/bad/b/up; tar -C /root/bad -cf - .",
            "out of the folder",
        ),
        // Cut between two members: tar itself ends with 0.
        (
            "cut",
            "tar -C /root/made -cf - odd | head -c 512",
            "the mark of its end",
        ),
    ] {
        store(&shop, name, command);
        from(&shop, &original, name, "");
        refused(&shop.run(&plan, &[]), &[4], &[words]);
        let left = shop.on(
            WEB,
            "ls -d /srv/shop/media /srv/shop/media.pre-* 2>/dev/null || :",
        );
        assert_eq!(left, "", "{name}: the live folder was touched");
    }

    // Whole, with owners by number; a folder with files of others is not written over.
    store(
        &shop,
        "whole",
        "tar -C /root/made --format=posix --numeric-owner -S -cf - . | gzip",
    );
    from(&shop, &original, "whole", "");
    shop.on(
        WEB,
        "mkdir -p /srv/shop/media; echo mine > /srv/shop/media/precious",
    );
    shop.on(WEB, "ip route add blackhole 198.18.255.2");
    refused(
        &shop.run(&plan, &[]),
        &[5],
        &["did not restore", "replace: true"],
    );
    shop.on(WEB, "ip route del blackhole 198.18.255.2");
    let replace = shop.plan(
        "replace",
        &RESTORE.replace("host: web-1 }", "host: web-1, replace: true }"),
    );
    from(&shop, &original, "whole", "");
    let ran = shop.run(&replace, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(shop.on(WEB, &format!("cd /srv/shop/media; {LIST}")), made);
    let kept = ran.noted("restore", "kept").unwrap();
    let kept = kept.as_str().unwrap();
    assert_eq!(shop.on(WEB, &format!("cat {kept}/precious")), "mine\n");

    // One folder of the archive, for another owner.
    from(&shop, &original, "whole", ", owner: www-data, within: deep");
    let within = shop.plan(
        "within",
        &RESTORE
            .replace("host: web-1 }", "host: web-1, replace: true }")
            .replace("odd/a b.txt", "second"),
    );
    from(&shop, &original, "whole", ", owner: www-data, within: deep");
    // `deep/link` leads out of `deep`: as the top of a folder that is out of it.
    refused(&shop.run(&within, &[]), &[4], &["leads out of the folder"]);
    from(&shop, &original, "whole", ", owner: www-data, within: odd");
    let within = shop.plan(
        "within",
        &RESTORE
            .replace("host: web-1 }", "host: web-1, replace: true }")
            .replace("odd/a b.txt", "a b.txt")
            .replace(">= 4", "= 2"),
    );
    from(&shop, &original, "whole", ", owner: www-data, within: odd");
    let ran = shop.run(&within, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(
        shop.on(WEB, "find /srv/shop/media -printf '%u:%g\\n' | sort -u"),
        "www-data:www-data\n"
    );
}

#[test]
fn a_tree_that_is_extracted_goes_on_without_its_orchestrator() {
    let shop = Shop::up();
    let plan = shop.plan("restore", RESTORE);
    let original = std::fs::read_to_string(shop.home().join("inventories/sandbox.yaml")).unwrap();
    from(&shop, &original, "whole", "");
    shop.on(
        WEB,
        &format!("{TREE}\nrm -rf /srv/shop/media; head -c 20000000 /dev/urandom > deep/large"),
    );
    let made = shop.on(WEB, &format!("cd /root/made; {LIST}"));
    store(
        &shop,
        "whole",
        "tar -C /root/made --format=posix --numeric-owner -S -cf - . | zstd -q",
    );
    // A tar that is stopped when it has extracted something, by a program that comes first in every PATH.
    shop.on(
        WEB,
        r#"real=$(command -v tar)
        sed "s|REAL|$real|g" > /usr/local/bin/tar <<'END'
#!/bin/sh
case "$*" in *--extract*) ;; *) exec REAL "$@" ;; esac
exec 3<&0
REAL "$@" <&3 3<&- &
kill -STOP $!
# It goes on in small steps until something is extracted.
set -- /srv/shop/media.dr-*/tree/*
until [ -e "$1" ]; do
  kill -CONT $!
  kill -STOP $!
  set -- /srv/shop/media.dr-*/tree/*
done
echo $! > /var/tmp/held.new && mv /var/tmp/held.new /var/tmp/held
wait $!
END
        chmod 755 /usr/local/bin/tar"#,
    );
    let going = shop.begin(&plan, &[]);
    let held = shop.on(
        WEB,
        "n=0
         until [ -e /var/tmp/held ]; do
           n=$((n + 1)); [ $n -lt 1600 ] || exit 1; sleep 0.05
         done
         grep -q '^State:.T' /proc/$(cat /var/tmp/held)/status && cat /var/tmp/held",
    );
    let held = held.trim();
    let card =
        std::fs::read_to_string(shop.home().join("state/dr-plan/estates/shop.lock")).unwrap();
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    shop.inside(&format!("kill -KILL {}", card["pid"]));
    let ran = going.ended(&shop);
    assert_ne!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(shop.on(WEB, "ls -d /srv/shop/media 2>/dev/null || :"), "");
    shop.on(WEB, &format!("kill -CONT {held}"));
    let run = ran.folder.file_name().unwrap().to_str().unwrap().to_owned();
    let ran = shop.resume(&ran);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(shop.on(WEB, &format!("cd /srv/shop/media; {LIST}")), made);
    let stages = shop.on(WEB, &format!("ls /var/lib/dr-plan/{run}/restore.stage"));
    assert_eq!(stages.lines().count(), 1, "extracted once: {stages}");
}
