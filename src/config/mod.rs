//! Text to values: reads `proxy_reverse.conf` and says everything that is wrong with it.
//!
//! Owns the grammar, the table of keys and the messages. It resolves no names, opens no
//! sockets, and imports nothing else of this crate. The way of a file: `parse.rs` makes raw
//! sections of its lines, `lower.rs` makes a [`Config`] of those with the table in [`keys`].
//! `docs/CONFIG.md` is the same for people. Next file to read: `keys.rs`.

mod address;
mod error;
mod heads;
mod health;
mod hints;
pub mod keys;
mod lints;
mod lower;
mod model;
mod origins;
mod parse;
mod retries;
mod servers;
mod shadows;
mod suggest;
mod tracing;
mod values;
mod written;

use std::path::Path;
use std::sync::Arc;

pub use address::AddressError;
pub use error::{ConfigError, ConfigErrors, ErrorKind};
pub use heads::{ForwardedHeaders, Header, HeaderError, Heads, HostHeader, Piece, Side, Via};
pub use health::{Fault, Health, HealthCheck, WhenAllOffline};
pub use model::{
    Config, LoadBalancer, Pattern, PoolSize, ProxyEntry, ServerAddress, Settings, UpgradePolicy,
};
pub use origins::{Origins, Place, Section};
pub use retries::{Retries, RetryCause, RetryOn};
pub use servers::{Capacity, OptionError, Server};
pub use tracing::{Audience, LogFormat, Tracing};
pub use written::{ServerLine, written, written_servers};

use error::{Problems, Span};
use parse::ReadError;

/// Reads the configuration in `path`, and the files that it includes. Variables come from
/// the environment of the process.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let text = parse::read_file(path).map_err(|error| {
        let kind = match error {
            ReadError::Io(reason) => ErrorKind::Unreadable { reason },
            ReadError::TooLarge { limit } => ErrorKind::TooLarge { limit },
        };
        ConfigError::new(Span::whole_file(Arc::from(path)), kind)
    })?;
    from_text(path, &text, &|name| std::env::var(name).ok())
}

/// Reads a configuration that is in memory already. `path` names it in messages and is
/// what the files that it includes are relative to; `env` gives the value of a variable.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn from_text(
    path: &Path,
    text: &[u8],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigErrors> {
    let root = Arc::from(path);
    let mut problems = Problems::default();
    if parse::is_empty(text) {
        return Err(ConfigError::new(Span::whole_file(root), ErrorKind::Empty).into());
    }
    let raw = parse::parse(&root, text, env, &mut problems);
    let (entries, origins) = lower::lower(raw, &root, &mut problems);
    let warnings = problems.finish(Arc::clone(&root))?;
    Ok(Config { path: root, entries, origins, warnings })
}

/// Memory that one pattern may take when compiled, in bytes. A set of all patterns may
/// take as much for each.
pub const PATTERN_SIZE_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests;
