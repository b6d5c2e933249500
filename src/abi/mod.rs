//! The border to C: the only folder with `unsafe` in it.
//!
//! Owns: the symbols that Monkey looks up, the mirrors of its structures, the
//! panic barrier, the clock. Translates and decides nothing. May use `engine`
//! and nothing else of this crate.
//!
//! Read next: [`legacy`] (Monkey 1.5), [`guard`] (what a panic turns into).
#![allow(unsafe_code)]

pub mod clock;
pub mod guard;
pub mod legacy;
pub mod log_sink;
