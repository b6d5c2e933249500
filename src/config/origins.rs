//! Where the values of an entry come from: the other half of the effective configuration, beside
//! `written.rs`.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use super::error::Span;
use super::keys::KeyId;

/// Which kind of section a line stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// `[PROXY_DEFAULTS]`
    Defaults,
    /// `[PROXY_ENTRY]`
    Entry,
}

/// One line that a value comes from. `Display` is `entry:23`, or `entry:more.conf:3` seen from
/// another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The section that the line belongs to.
    pub section: Section,
    /// The environment variables that stand in its value.
    pub variables: Vec<String>,
    pub(super) span: Span,
}

impl Place {
    /// The file, as it was named to us.
    pub fn path(&self) -> &Path {
        &self.span.path
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.span.line
    }

    /// The column of the key, counted in characters from 1.
    pub fn column(&self) -> usize {
        self.span.column
    }

    /// How it is called in a list about the file `root`: `entry:23`, `defaults:more.conf:3`, with
    /// the variables as in `entry:23, env PORT`.
    pub fn seen_from(&self, root: &Path) -> String {
        let file = if self.path() == root { String::new() } else { format!("{}:", self.path().display()) };
        let variables: String = self.variables.iter().map(|name| format!(", env {name}")).collect();
        format!("{}:{file}{}{variables}", self.section, self.line())
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Section::Defaults => "defaults",
            Section::Entry => "entry",
        })
    }
}

/// Where each value of one entry comes from.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    places: HashMap<KeyId, Vec<Place>>,
    /// The line of each server of the entry.
    servers: Vec<Place>,
}

impl Origins {
    /// The lines that say what the key is; none if that is built in.
    pub fn of(&self, key: KeyId) -> &[Place] {
        self.places.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The line that a server of the entry stands in, by its place in the list of all.
    pub fn of_server(&self, index: usize) -> Option<&Place> {
        self.servers.get(index)
    }

    /// The newest line of this key has added servers: there are so many now.
    pub(super) fn add_servers(&mut self, key: KeyId, count: usize) {
        if let Some(place) = self.place(key).cloned() {
            self.servers.resize(count, place);
        }
    }

    /// An entry begins to name its own servers.
    pub(super) fn forget_servers(&mut self) {
        self.forget(KeyId::ServerList);
        self.forget(KeyId::Server);
        self.servers.clear();
    }

    /// The line that decides about a key that stands once in a section.
    pub(super) fn place(&self, key: KeyId) -> Option<&Place> {
        self.of(key).last()
    }

    pub(super) fn add(&mut self, key: KeyId, place: Place) {
        self.places.entry(key).or_default().push(place);
    }

    /// An entry begins to say it anew.
    pub(super) fn forget(&mut self, key: KeyId) {
        self.places.remove(&key);
    }
}
