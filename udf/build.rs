//! DROP FUNCTION closes the library while its own thread runs in it; `nodelete` keeps it mapped, or the server dies.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
