//! Monkey's own files: enough of their grammar to look things up and to put a line where it
//! belongs, with everything else kept byte for byte.
//!
//! Monkey takes the indentation of the first key line of a file for that of all, comments
//! included, and refuses a file with another one. A line in the first column is a section, or a
//! comment if it begins with `#`.

use std::path::{Path, PathBuf};

use crate::cli::Failure;

/// Which kind of Monkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 1.5.0 to 1.5.6
    Legacy,
    /// 1.7.0 to 1.8.9
    Modern,
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Family::Legacy => "1.5",
            Family::Modern => "1.8",
        })
    }
}

/// One of Monkey's files.
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
    lines: Vec<Line>,
}

/// A key line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Its line, counted from 1.
    pub line: usize,
}

#[derive(Clone, Debug)]
struct Line {
    /// Where it begins, in bytes.
    start: usize,
    /// Where it ends, its line end included.
    end: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Nothing,
    Comment,
    Section(String),
    Entry { key: String, value: String },
}

impl File {
    /// Reads a file; `None` if it is not there.
    pub fn read(path: &Path) -> Result<Option<File>, Failure> {
        match std::fs::read(path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes)
                    .map_err(|_| Failure(format!("{}: not UTF-8 text; save it as such", path.display())))?;
                Ok(Some(File::new(path, text)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure(format!("{}: {error}", path.display()))),
        }
    }

    /// A file with this text.
    pub fn new(path: &Path, text: String) -> File {
        let mut start = 0;
        let lines = text
            .split_inclusive('\n')
            .map(|line| {
                let begin = start;
                start += line.len();
                Line { start: begin, end: start, kind: kind_of(line) }
            })
            .collect();
        File { path: path.to_owned(), lines, text }
    }

    /// The keys of the first section of that name; letter case makes no difference.
    pub fn section(&self, name: &str) -> Option<Vec<Entry>> {
        let (from, to) = self.range_of(name)?;
        let entries = (from + 1..to).filter_map(|index| match &self.lines[index].kind {
            Kind::Entry { key, value } => {
                Some(Entry { key: key.clone(), value: value.clone(), line: index + 1 })
            }
            _ => None,
        });
        Some(entries.collect())
    }

    /// The values of a key in the first section of that name.
    pub fn values(&self, section: &str, key: &str) -> Vec<Entry> {
        let entries = self.section(section).unwrap_or_default();
        entries.into_iter().filter(|entry| entry.key.eq_ignore_ascii_case(key)).collect()
    }

    /// Text of comments that look like a value of this key.
    pub fn commented(&self, key: &str) -> Vec<String> {
        let comments = self.lines.iter().filter(|line| matches!(line.kind, Kind::Comment));
        let words = comments.filter_map(|line| {
            let content = self.text[line.start..line.end].trim().trim_start_matches('#').trim();
            let (word, value) = content.split_once(' ')?;
            word.eq_ignore_ascii_case(key).then(|| value.trim().to_owned())
        });
        words.collect()
    }

    /// The text with further key lines in a section, behind the last of its lines with this key,
    /// or else at its end. A section that is not there is added to the end of the file.
    pub fn with(&self, section: &str, key: &str, values: &[String]) -> Result<String, Failure> {
        let indentation = self.indentation()?;
        let end = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let added: String = values.iter().map(|value| format!("{indentation}{key} {value}{end}")).collect();
        let (at, added) = match self.range_of(section) {
            Some((from, to)) => (self.place(from, to, key), added),
            None => (self.text.len(), format!("{end}[{section}]{end}{added}")),
        };
        let (before, behind) = self.text.split_at(at);
        let open = if before.is_empty() || before.ends_with('\n') { "" } else { end };
        Ok(format!("{before}{open}{added}{behind}"))
    }

    /// The text without some lines, which are counted from 1.
    pub fn without(&self, lines: &[usize]) -> String {
        let kept = self.lines.iter().enumerate().filter(|(index, _)| !lines.contains(&(index + 1)));
        kept.map(|(_, line)| &self.text[line.start..line.end]).collect()
    }

    /// Where in the text a key line goes: behind the last one with that key, else behind the last
    /// line of the section that is not blank.
    fn place(&self, from: usize, to: usize, key: &str) -> usize {
        let lines = &self.lines[from..to];
        let same = |line: &&Line| matches!(&line.kind, Kind::Entry { key: own, .. } if own.eq_ignore_ascii_case(key));
        let used = |line: &&Line| !matches!(line.kind, Kind::Nothing);
        let after = lines.iter().rev().find(same).or_else(|| lines.iter().rev().find(used));
        after.map_or(self.lines[from].end, |line| line.end)
    }

    /// The lines of the first section of that name: its own, and the first behind it.
    fn range_of(&self, name: &str) -> Option<(usize, usize)> {
        let is_section = |line: &Line| matches!(line.kind, Kind::Section(_));
        let is_it = |line: &Line| matches!(&line.kind, Kind::Section(own) if own.eq_ignore_ascii_case(name));
        let from = self.lines.iter().position(is_it)?;
        let behind = self.lines[from + 1..].iter().position(is_section);
        Some((from, behind.map_or(self.lines.len(), |behind| from + 1 + behind)))
    }

    /// What Monkey expects in front of each key of this file.
    fn indentation(&self) -> Result<String, Failure> {
        let first = self.lines.iter().find_map(|line| {
            let line = self.text[line.start..line.end].trim_end_matches(['\r', '\n']);
            (!line.is_empty() && !line.starts_with(['#', '[', '@'])).then_some(line)
        });
        let Some(first) = first else { return Ok("    ".to_owned()) };
        let indentation = &first[..first.len() - first.trim_start_matches([' ', '\t']).len()];
        if indentation.is_empty() {
            let reason =
                "its first key is not indented, which Monkey does not understand; indent it by four blanks";
            return Err(Failure(format!("{}: {reason}", self.path.display())));
        }
        Ok(indentation.to_owned())
    }
}

fn kind_of(line: &str) -> Kind {
    let line = line.trim_end_matches(['\r', '\n']);
    if let Some(rest) = line.strip_prefix('[') {
        return Kind::Section(rest.split(']').next().unwrap_or_default().to_owned());
    }
    let content = line.trim();
    if content.starts_with('#') {
        return Kind::Comment;
    }
    match content.split_once(' ') {
        Some((key, value)) => Kind::Entry { key: key.trim().to_owned(), value: value.trim().to_owned() },
        None => Kind::Nothing,
    }
}

/// The family that a configuration folder is for, as far as its files tell.
pub fn family_of(server: &File, loader: &File) -> Option<Family> {
    let has = |key: &str| !server.values("SERVER", key).is_empty();
    let has_port = |value: &str| value.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let loads_transport =
        loader.values("PLUGINS", "Load").iter().any(|load| load.value.contains("monkey-liana"));
    if has("Port") || has("TransportLayer") || loads_transport {
        return Some(Family::Legacy);
    }
    server
        .values("SERVER", "Listen")
        .iter()
        .any(|listen| has_port(first_word(&listen.value)))
        .then_some(Family::Modern)
}

/// The family of a binary, from what it says of itself: `Monkey HTTP Server v1.5.6`.
pub fn family_of_version(said: &str) -> Result<Family, String> {
    let version = said.split_whitespace().find_map(|word| word.trim_matches(',').strip_prefix('v'));
    let version = version.filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    let version = version.ok_or("it does not tell its version; write --family 1.5 or --family 1.8")?;
    match version.split('.').take(2).collect::<Vec<_>>()[..] {
        ["1", "5"] => Ok(Family::Legacy),
        ["1", "7" | "8"] => Ok(Family::Modern),
        _ => Err(format!("version {version} is not supported; use 1.5.6 or 1.8.9")),
    }
}

/// The first word of a value.
pub fn first_word(value: &str) -> &str {
    value.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File::new(Path::new("f"), text.to_owned())
    }

    #[test]
    fn lines_are_added_where_they_belong_and_nothing_else_changes() {
        let load = |text: &str| file(text).with("PLUGINS", "Load", &["x".to_owned()]).unwrap();
        for (before, after) in [
            (
                "[PLUGINS]\n\n  # Load a\n  Load b\n\n  # Load c\n",
                "[PLUGINS]\n\n  # Load a\n  Load b\n  Load x\n\n  # Load c\n",
            ),
            ("[PLUGINS]\n\t# Load a\n\n", "[PLUGINS]\n\t# Load a\n\tLoad x\n\n"),
            (
                "[plugins]\r\n    Load a\r\n[X]\r\n    y z",
                "[plugins]\r\n    Load a\r\n    Load x\r\n[X]\r\n    y z",
            ),
            ("[PLUGINS]", "[PLUGINS]\n    Load x\n"),
            ("# nothing", "# nothing\n\n[PLUGINS]\n    Load x\n"),
        ] {
            assert_eq!(load(before), after);
            let added = file(&load(before)).values("PLUGINS", "load").last().unwrap().line;
            assert_eq!(
                file(&load(before)).without(&[added]).trim_end(),
                before.trim_end().to_owned() + if before.starts_with('#') { "\n\n[PLUGINS]" } else { "" }
            );
        }
        assert!(file("[PLUGINS]\nLoad a\n").with("PLUGINS", "Load", &[]).is_err());
    }

    #[test]
    fn families_are_told_apart() {
        let tree = |server: &str, loader: &str| family_of(&file(server), &file(loader));
        assert_eq!(tree("[SERVER]\n    Port 80\n", ""), Some(Family::Legacy));
        assert_eq!(tree("[SERVER]\n    Port 80\n    Listen 127.0.0.1\n", ""), Some(Family::Legacy));
        assert_eq!(tree("[SERVER]\n    Listen 80\n", ""), Some(Family::Modern));
        assert_eq!(tree("[SERVER]\n    Listen [::1]:443 tls\n", ""), Some(Family::Modern));
        assert_eq!(tree("[SERVER]\n    Listen 127.0.0.1\n", ""), None);
        assert_eq!(tree("", "[PLUGINS]\n    Load /x/monkey-liana.so\n"), Some(Family::Legacy));
        assert_eq!(family_of_version("Monkey HTTP Server v1.5.6\nBuilt"), Ok(Family::Legacy));
        assert_eq!(family_of_version("Monkey HTTP Server v1.8.9"), Ok(Family::Modern));
        assert!(family_of_version("Monkey HTTP Server v1.6.9").unwrap_err().contains("not supported"));
        assert!(family_of_version("").is_err());
    }
}
