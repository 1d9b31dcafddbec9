//! Unoptimised programs start more quickly without position independence: their two hundred thousand addresses are then
//! written by the linker, once, and not at each of the hundreds of starts of a test. Release builds keep it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    if is("OPT_LEVEL", "0") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-tests=-no-pie");
    }
}
