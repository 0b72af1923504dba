//! Sets the cfg by which `src/cache/single_flight.rs` takes its thread ids from shuttle.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(aero2_shuttle)");
    println!("cargo::rustc-cfg=aero2_shuttle");
}
