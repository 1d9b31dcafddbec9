//! Certificates: of the right name, from an authority that is trusted, and good for long enough; anything else is told apart in words.

use super::shop::Shop;

fn plan(shop: &Shop, name: &str, kind: &str, with: &str) -> std::path::PathBuf {
    let text = format!(
        "version: 1\nname: {name}\ninventory: ../inventories/sandbox.yaml\nsteps:\n  look:\n    uses: {kind}\n    with: {{ {with} }}\n    timeout: 2s\n"
    );
    shop.plan(name, &text)
}

#[test]
fn a_certificate_is_judged_as_a_browser_judges_it() {
    let shop = Shop::up();
    let trust = "trust: /run/dr-plan/shop_ca.pem";
    let asked = |name: &str, kind: &str, with: &str, code: i32, words: &[&str]| {
        let ran = shop.run(&plan(&shop, name, kind, with), &[]);
        assert_eq!(ran.code, Some(code), "{name}: {}", ran.said());
        for word in words {
            assert!(
                ran.said().contains(word),
                "{name}: `{word}` is not said: {}",
                ran.said()
            );
        }
    };
    let tls = |name: &str, with: &str, code: i32, words: &[&str]| {
        asked(name, "check.tls", with, code, words);
    };
    let good = ["signed by CN=Authority of the sandbox", "good until 20"];
    tls(
        "right",
        &format!("name: shop.example, {trust}, valid_for: 168h"),
        0,
        &good,
    );
    tls(
        "wrong-name",
        &format!("name: other.example, at: 198.18.1.2, {trust}"),
        4,
        &["is for shop.example, www.shop.example and not for other.example"],
    );
    tls(
        "untrusted",
        "name: shop.example",
        4,
        &[
            "none of this machine's authorities vouches",
            "signed by CN=Authority of the sandbox",
            "trust: FILE",
        ],
    );
    tls(
        "short",
        &format!("name: shop.example, {trust}, valid_for: 8760h"),
        4,
        &["runs out within"],
    );
    tls(
        "signer",
        &format!("name: shop.example, {trust}, issuer: Somebody Else"),
        4,
        &["not by Somebody Else"],
    );
    tls(
        "no-tls",
        &format!("name: shop.example, port: 80, {trust}"),
        4,
        &["speaks no TLS"],
    );
    asked(
        "page",
        "check.http",
        &format!("url: \"https://shop.example/health\", {trust}"),
        0,
        &[],
    );
    asked(
        "doubtful-page",
        "check.http",
        "url: \"https://shop.example/health\"",
        4,
        &["UnknownIssuer"],
    );

    shop.on(
        "shop-web-1",
        "faketime '30 days ago' openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 10 \
         -subj /CN=shop.example -addext subjectAltName=DNS:shop.example -keyout /etc/shop/tls/shop.key -out /etc/shop/tls/shop.crt 2>/dev/null
         systemctl restart nginx",
    );
    tls(
        "expired",
        &format!("name: shop.example, {trust}"),
        4,
        &["the certificate ran out at 20"],
    );
}
