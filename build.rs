//! Unoptimised programs start more quickly without position independence: their two hundred thousand addresses are then
//! written by the linker, once, and not at each of the hundreds of starts of a test. Release builds keep it, and so does
//! whatever is linked statically: there the start-up code expects it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    let unoptimised = of("OPT_LEVEL") == "0";
    let glibc = of("CARGO_CFG_TARGET_OS") == "linux" && of("CARGO_CFG_TARGET_ENV") == "gnu";
    let is_static = of("CARGO_CFG_TARGET_FEATURE").contains("crt-static");
    if unoptimised && glibc && !is_static {
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-tests=-no-pie");
    }
}
