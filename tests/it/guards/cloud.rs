//! A cloud that loses answers, and a stranger at the address of a new server.

use std::collections::BTreeMap;

use super::shop::Shop;

/// One step for each role, with a type of its own, by which a fault finds its call.
fn plan_for(roles: &[(&str, &str)]) -> String {
    let mut text =
        "version: 1\nname: servers\ninventory: ../inventories/sandbox.yaml\nsteps:\n".to_owned();
    for (role, size) in roles {
        text.push_str(&format!(
            "  {role}:\n    uses: server.create\n    with: {{ role: {role}, place: \"hetzner/nbg1/{size}\", image: debian-12 }}\n"
        ));
    }
    text
}

#[test]
fn there_is_one_server_for_each_role_whatever_becomes_of_the_answers() {
    let shop = Shop::without_servers();
    let faults = [
        ("lost", "cx23", r#""reset""#, "after"),
        (
            "busy",
            "cx33",
            r#"{"status":{"status":429,"retry_after":1}}"#,
            "before",
        ),
        ("wrong", "cx43", r#"{"status":{"status":500}}"#, "after"),
        ("silent", "cpx22", r#""hang""#, "after"),
    ];
    for (_, size, kind, when) in faults {
        let rule = format!(
            r#"{{"method":"POST","path":"/v1/servers","body":{{"server_type":"{size}"}},"when":"{when}","kind":{kind}}}"#
        );
        shop.inside(&format!("curl -sSf -H 'content-type: application/json' -d '{rule}' http://127.0.0.1:8000/_sandbox/faults"));
    }
    let roles: Vec<(&str, &str)> = faults
        .iter()
        .map(|(role, size, ..)| (*role, *size))
        .collect();
    let ran = shop.run(&shop.plan("servers", &plan_for(&roles)), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());

    let struck = shop.lever("faults");
    let all = struck.as_array().or(struck["faults"].as_array()).unwrap();
    assert_eq!(all.len(), 4, "{struck}");
    assert!(
        all.iter().all(|rule| rule["struck"] == 1),
        "a fault met no call: {struck}"
    );
    let servers = shop.lever("servers");
    let mut count = BTreeMap::new();
    for server in servers["servers"].as_array().unwrap() {
        let name = server["name"].as_str().unwrap();
        let role = roles
            .iter()
            .map(|(role, _)| *role)
            .find(|role| name.contains(&format!("-{role}-")));
        *count.entry(role.unwrap_or(name)).or_insert(0) += 1;
    }
    let one: BTreeMap<&str, i32> = roles.iter().map(|(role, _)| (*role, 1)).collect();
    assert_eq!(count, one, "{servers}");
}

#[test]
fn nothing_is_sent_to_a_stranger_at_the_address_of_a_new_server() {
    let shop = Shop::without_servers();
    // The address that the next server gets, answered by the world itself, where the orchestrator lives. The
    // stranger lets everybody in who has the right key, as a good trap would.
    shop.inside(
        "mkdir -p /run/sshd /run/stranger; cd /run/stranger; ssh-keygen -q -t ed25519 -N '' -f key
         cp /run/dr-plan/secrets/login.pub authorized; chown 0:0 /run/stranger/authorized; chmod 644 authorized
         ip address add 198.19.1.1/32 dev lo
         printf '%s\\n' 'ListenAddress 198.19.1.1' 'HostKey /run/stranger/key' 'PidFile /run/stranger/pid' 'PermitRootLogin yes' \
           'StrictModes no' 'AuthorizedKeysFile /run/stranger/authorized' 'LogLevel DEBUG1' > conf
         /usr/sbin/sshd -f /run/stranger/conf -E /run/stranger/log",
    );
    // The trap works: whoever does not look at the key gets in.
    let careless = "ssh -q -F none -i /run/dr-plan/secrets/login -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@198.19.1.1 echo in";
    assert_eq!(shop.inside(careless), "in\n");
    assert!(
        shop.inside("cat /run/stranger/log")
            .contains("Accepted publickey")
    );
    shop.inside(": > /run/stranger/log");

    let plan = shop.plan("servers", &plan_for(&[("web", "cx23")]));
    let ran = shop.run(&plan, &[]);
    let said = ran.said();
    let log = shop.inside("cat /run/stranger/log");
    assert_eq!(
        shop.machine("dr-servers-web").address.to_string(),
        "198.19.1.1"
    );
    assert!(matches!(ran.code, Some(4 | 5)), "{said}");
    for word in ["198.19.1.1", "host key", "nothing was sent"] {
        assert!(said.contains(word), "`{word}` is not said: {said}");
    }
    assert!(
        log.contains("Connection from"),
        "the stranger was not asked: {log}"
    );
    for word in ["Accepted", "publickey", "userauth"] {
        assert!(
            !log.contains(word),
            "the stranger got more than a greeting: {log}"
        );
    }

    // Without the stranger the same run comes to its end.
    shop.inside("kill $(cat /run/stranger/pid); ip address del 198.19.1.1/32 dev lo");
    let ran = shop.resume(&ran);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
}

#[test]
fn limits_are_refused_with_the_sum_and_a_group_of_regions_is_a_ladder() {
    let shop = Shop::without_servers();
    let roles = [("db", "cx33"), ("web", "cx23")];
    let plan = shop.plan(
        "servers",
        &plan_for(&roles).replace("hetzner/nbg1", "hetzner/eu"),
    );
    let limits = |limits: &str| {
        let account = shop.home().join("providers/sandbox-hetzner.yaml");
        let text = std::fs::read_to_string(&account).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.retain(|line| !line.starts_with("limits:") && !line.starts_with("regions:"));
        // A place without room: the next one of the group is taken.
        let text = format!(
            "{}\nregions: {{ eu: [hel1, nbg1] }}\n{limits}",
            lines.join("\n")
        );
        std::fs::write(account, text).unwrap();
    };
    let none = |said: &str| {
        let servers = shop.lever("servers");
        assert_eq!(
            servers["servers"].as_array().unwrap().len(),
            0,
            "{said}\n{servers}"
        );
    };

    limits("limits: { servers: 1 }\n");
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(5), "{}", ran.said());
    assert!(
        ran.said().contains("2 are more than its limit of 1"),
        "{}",
        ran.said()
    );
    none(&ran.said());

    limits("limits: { monthly_cost: 1.5 }\n");
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(5), "{}", ran.said());
    assert!(
        ran.said().contains("is more than its limit of 1.50"),
        "{}",
        ran.said()
    );
    none(&ran.said());

    limits("limits: { servers: 2, monthly_cost: 500 }\n");
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(
        shop.lever("servers")["servers"].as_array().unwrap().len(),
        2
    );

    // They stand there now, and count.
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(5), "{}", ran.said());
    assert!(
        ran.said().contains("2 servers stand there"),
        "{}",
        ran.said()
    );
}
