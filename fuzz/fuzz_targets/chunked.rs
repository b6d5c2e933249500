//! See `properties::CHUNKED`.
#![no_main]

#[path = "../../tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (properties::CHUNKED.1)(input);
});
