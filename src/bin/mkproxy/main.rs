//! `mkproxy`: what an operator needs beside the plugin, on the command line.
//!
//! Owns the command line and what people and programs get to see; what a configuration
//! means it asks the library. `cli.rs` has the commands, and each has a file of its name.

mod check;
mod cli;
mod effective;
mod explain;
mod handlers;
mod install;
mod keys;
mod manual;
mod monkey;
mod report;
mod say;
mod status;
mod surroundings;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.color.write_global();
    let done = match &cli.command {
        Command::Check(check) => check::run(check),
        Command::Keys(keys) => keys::run(keys),
        Command::Status(watch) => status::run(watch),
        Command::Explain(explain) => explain::run(explain),
        Command::Install(install) => install::run(install),
        Command::Uninstall(uninstall) => install::uninstall(uninstall),
        Command::Completions(completions) => manual::completions(completions),
        Command::Man(man) => manual::pages(man),
    };
    match done {
        Ok(status) => status.into(),
        Err(Failure(reason)) => {
            say::complain(format_args!("mkproxy: {reason}"));
            cli::Status::Failed.into()
        }
    }
}
