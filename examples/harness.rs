//! Builds the C host of `tests/harness` and becomes it, with the arguments passed through:
//!
//! ```text
//! cargo run --release --example harness -- -c CONFDIR [-p PORT] [-w WORKERS]
//! ```

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use support::build::{Flavour, harness};

fn main() -> ExitCode {
    let Some(harness) = harness(Flavour::Plain) else { return ExitCode::FAILURE };
    // Replacing this process leaves signals and the exit status to the harness itself.
    let error = Command::new(&harness).args(std::env::args_os().skip(1)).exec();
    eprintln!("{}: {error}", harness.display());
    ExitCode::FAILURE
}
