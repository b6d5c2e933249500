//! The plugin beside nginx, HAProxy and lighttpd, in one interleaved run on this machine:
//! `cargo bench --bench compare`, with `-- --help` for its options.
//!
//! It starts everything itself, on free ports of 127.0.0.1, and ends it again. A whole run writes
//! the figures into `docs/PERFORMANCE.md`, between two markers, and `docs/performance.svg`.
//!
//! Read next: `scenarios.rs` (what is asked), `servers.rs` (of whom), `run.rs` (in which order).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement reads the clock, waits, and fails loudly"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod backends;
mod chart;
mod idle;
mod load;
mod memory;
mod options;
mod process;
mod report;
mod run;
mod scenarios;
mod servers;

use std::process::{Command, ExitCode};

use options::Options;

fn main() -> ExitCode {
    // `cargo test --benches` runs every bench once, to see that it works; this one is too long.
    if !std::env::args().any(|arg| arg == "--bench") {
        eprintln!("compare: nothing is measured but by `cargo bench --bench compare`");
        return ExitCode::SUCCESS;
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    if let Err(error) = Command::new("wrk").arg("--version").output() {
        return Err(format!("wrk: {error}: it makes the load"));
    }
    build_plugin()?;
    let descriptors = idle::raise_limit();
    let backends = backends::Backends::start(descriptors)?;
    let mut run = run::Run::new(options, &backends);
    run.scenarios()?;
    run.two_workers()?;
    run.memory();
    report::write(&run.results, options)
}

/// What is measured is the plugin that people install. Cargo has built one of this profile for
/// this program already; whether it is really optimised, and the newest, is not left to chance.
fn build_plugin() -> Result<(), String> {
    let profile = support::build::profile_dir();
    let is_release = !cfg!(debug_assertions) && profile.file_name().is_some_and(|name| name == "release");
    let target = profile.parent().filter(|_| is_release);
    let target = target.ok_or("a debug build is no measure: run `cargo bench --bench compare`")?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "build",
        "--release",
        "--locked",
        "--lib",
        "--quiet",
    ]);
    let status = build.arg("--target-dir").arg(target).status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("{build:?}: {status}")) }
}
