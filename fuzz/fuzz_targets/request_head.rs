//! See `properties::REQUEST_HEAD`.
#![no_main]

#[path = "../../tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (properties::REQUEST_HEAD.1)(input);
});
