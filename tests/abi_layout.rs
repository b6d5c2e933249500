//! The mirrors of Monkey's structures stand where they were measured. (That
//! the compiler puts the fields there is asserted in `raw.rs` itself.)

use monkey_proxy_reverse::abi::{legacy, modern};

/// What was measured for the processor that this was built for.
macro_rules! measured {
    ($family:literal) => {
        if cfg!(target_pointer_width = "64") {
            include_str!(concat!("data/", $family, "-layout.json"))
        } else if cfg!(feature = "time64") {
            include_str!(concat!("data/", $family, "-layout-arm32-time64.json"))
        } else if cfg!(target_arch = "x86") {
            include_str!(concat!("data/", $family, "-layout-i686.json"))
        } else {
            include_str!(concat!("data/", $family, "-layout-arm32.json"))
        }
    };
}

#[test]
fn every_mirrored_offset_of_monkey_1_5_was_measured() {
    compare(measured!("legacy"), legacy::raw::OFFSETS);
}

#[test]
fn every_mirrored_offset_of_monkey_1_8_was_measured() {
    compare(measured!("modern"), modern::raw::OFFSETS);
}

fn compare(measured: &str, offsets: &[(&str, &str, usize, usize)]) {
    let layout: serde_json::Value = serde_json::from_str(measured).expect("the measured layout is JSON");
    let structs = layout["structs"].as_object().expect("structures by name");
    let measured: usize = structs.values().map(|fields| fields.as_object().map_or(0, |f| f.len())).sum();
    assert_eq!(measured, offsets.len(), "a measured field is not mirrored, or the other way round");
    for (structure, field, _, mirrored) in offsets {
        let offset = layout["structs"][structure][field].as_u64();
        assert_eq!(offset, Some(*mirrored as u64), "{structure}.{field}");
    }
}
