//! Which accounts are taken and which are refused.

use super::*;

const HETZNER: &str = "version: 1\nname: hetzner\nkind: hetzner\ntoken: { env: HCLOUD_TOKEN }\nregions: { eu: [fsn1, nbg1] }\nimages: { debian-12: debian-12 }\nsizes: { small: cx22 }\nlimits: { servers: 20, monthly_cost: 200 }\n";
const POWERDNS: &str = "version: 1\nname: pdns\nkind: powerdns\ntoken: { file: pdns.key }\nendpoint: http://127.0.0.1:8081/\nnameservers: [\"127.0.0.53:53\"]\n";

fn read_text(text: &str) -> Result<Account, Vec<Problem>> {
    let source = Arc::new(Source {
        name: "account.yaml".into(),
        text: text.into(),
    });
    read(&source, Path::new("/estate/providers"))
}

fn messages(text: &str) -> Vec<String> {
    read_text(text)
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}

#[test]
fn accounts_are_read_with_their_defaults() {
    let hetzner = read_text(HETZNER).unwrap();
    assert_eq!(
        (hetzner.endpoint.as_str(), hetzner.sandbox),
        (HETZNER_ENDPOINT, false)
    );
    assert_eq!(hetzner.regions["eu"], ["fsn1", "nbg1"]);
    assert_eq!(hetzner.limits.monthly_cost, Some(200.0));
    let pdns = read_text(POWERDNS).unwrap();
    assert_eq!(pdns.endpoint, "http://127.0.0.1:8081");
    assert_eq!(
        pdns.token,
        SecretRef::File("/estate/providers/pdns.key".into())
    );
    let expected = AccountKind::Powerdns {
        server: "localhost".into(),
        nameservers: vec!["127.0.0.53:53".parse().unwrap()],
    };
    assert_eq!(pdns.kind, expected);
}

#[test]
fn a_token_goes_nowhere_but_to_the_real_service_or_a_marked_sandbox() {
    let other = format!("{HETZNER}endpoint: http://127.0.0.1:4000/v1\n");
    assert_eq!(
        messages(&other),
        ["this endpoint is not that of Hetzner Cloud"]
    );
    assert!(
        read_text(&format!("{other}sandbox: true\n"))
            .unwrap()
            .sandbox
    );
    assert_eq!(messages(&format!("{HETZNER}sandbox: true\n")).len(), 1);
    assert_eq!(
        messages(&format!(
            "{HETZNER}endpoint: {HETZNER_ENDPOINT}\nsandbox: true\n"
        ))
        .len(),
        1
    );
    // A marked account whose endpoint only looks like another one.
    assert_eq!(
        messages(&format!(
            "{HETZNER}endpoint: {HETZNER_ENDPOINT}/\nsandbox: true\n"
        ))
        .len(),
        1
    );
    assert_eq!(
        messages(&format!(
            "{HETZNER}endpoint: \"https://a:b@x/v1\"\nsandbox: true\n"
        ))
        .len(),
        1
    );
}

#[test]
fn powerdns_needs_its_endpoint_and_takes_no_keys_of_a_cloud() {
    let without = POWERDNS.replace("endpoint: http://127.0.0.1:8081/\n", "");
    assert_eq!(
        messages(&without),
        ["an account of the kind `powerdns` needs the key `endpoint`"]
    );
    assert_eq!(
        messages(&format!("{POWERDNS}sizes: {{ a: b }}\n")),
        ["`sizes` belongs to the kind `hetzner`"]
    );
    assert_eq!(
        messages(&POWERDNS.replace("127.0.0.53:53", "ns1")),
        ["this is no address with a port"]
    );
}

#[test]
fn other_kinds_are_named_as_not_carried_out_yet() {
    let found = messages(&HETZNER.replace("kind: hetzner", "kind: vultr"));
    assert_eq!(found, ["`vultr` is not carried out by this version yet"]);
    let found = messages(&HETZNER.replace("kind: hetzner", "kind: hetzer"));
    assert_eq!(found, ["`hetzer` cannot stand here"]);
}

#[test]
fn a_folder_of_accounts_is_loaded_by_name_and_a_name_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("b.yaml", POWERDNS),
        ("a.yaml", HETZNER),
        ("notes.txt", "no"),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let paths = files(folder.path()).unwrap();
    let names: Vec<String> = load(&paths).unwrap().into_keys().collect();
    assert_eq!(names, ["hetzner", "pdns"]);
    std::fs::write(folder.path().join("c.yml"), HETZNER).unwrap();
    let problems = load(&files(folder.path()).unwrap()).unwrap_err();
    assert_eq!(
        problems[0].message,
        "two provider files have the name `hetzner`"
    );
}
