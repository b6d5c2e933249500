//! The border to C: the only folder with `unsafe` in it.
//!
//! Owns: the symbols that Monkey looks up, the mirrors of its structures, the
//! panic barrier, the clock. Translates and decides nothing. May use `engine`
//! and nothing else of this crate.
//!
//! Read next: [`legacy`] (Monkey 1.5), [`modern`] (Monkey 1.7 and 1.8),
//! [`bridge`] (what both share), [`guard`] (what a panic turns into).
#![allow(unsafe_code)]

pub mod bridge;
pub mod clock;
mod ending;
pub mod guard;
mod intake;
pub mod legacy;
pub mod log_sink;
pub mod modern;
mod nudge;
pub mod peers;
pub mod socket;
pub mod word;

/// Something of each of some clients, by descriptor; those of whom nothing is known take no room.
type FdMap<T> = std::collections::HashMap<std::ffi::c_int, T, rustc_hash::FxBuildHasher>;
