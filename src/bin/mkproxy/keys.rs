//! `mkproxy keys`: the table of keys.

use monkey_proxy_reverse::config::keys::{self, KEYS, Key};

use crate::cli::{Failure, Keys, Status};
use crate::say;

/// Lists all keys, or shows some of them with everything that the table knows.
pub fn run(command: &Keys) -> Result<Status, Failure> {
    if command.names.is_empty() {
        let width = KEYS.iter().map(|key| key.name.len()).max().unwrap_or(0);
        for key in KEYS {
            say::line(format_args!("{:width$}  {}", key.name, key.doc));
        }
        return Ok(Status::Well);
    }
    for name in &command.names {
        let key = keys::find(name).ok_or_else(|| {
            Failure(format!("there is no key '{name}'; 'mkproxy keys' lists all that there are"))
        })?;
        show(key);
    }
    Ok(Status::Well)
}

fn show(key: &Key) {
    let bold = clap::builder::styling::AnsiColor::Green.on_default().bold();
    say::line(format_args!("{bold}{}{bold:#}: {}", key.name, key.doc));
    say::line(format_args!("    value    {}", key.kind.expected()));
    say::line(format_args!("    default  {}", key.default.unwrap_or("none")));
    say::line(format_args!("    example  {} {}", key.name, key.example));
    if let Some(alias) = key.alias {
        say::line(format_args!("    also     {alias}"));
    }
}
