//! What the build script made.

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

fn main() {
    println!("built with a token for {SCOPE}");
}
