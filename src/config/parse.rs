//! Lines to raw sections. Knows the grammar, and no key.
//!
//! The grammar is that of Monkey's own files (`[SECTION]`, `Key value`, `#` before a
//! comment), without its limits on indentation and length, and with `@INCLUDE file` and
//! `${NAME}`. A line that makes no sense is reported and skipped.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ErrorKind, Problems, Span, shown_path};

/// The sections of a file and of the files that it includes, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct RawFile {
    pub sections: Vec<RawSection>,
}

/// One section line and the keys below it.
#[derive(Debug)]
pub(super) struct RawSection {
    /// What stands between the brackets; `None` if the line was no section line after all,
    /// which is reported already.
    pub name: Option<String>,
    pub span: Span,
    pub entries: Vec<RawEntry>,
    /// A line of it could not be used, which is reported already: what seems to be missing
    /// may have stood there.
    pub is_incomplete: bool,
}

/// One key line.
#[derive(Debug)]
pub(super) struct RawEntry {
    pub key: String,
    pub span: Span,
    /// `None` if it could not be used, which is reported already.
    pub value: Option<Value>,
}

/// The value of a key, with its variables replaced.
#[derive(Debug, Default)]
pub(super) struct Value {
    pub text: String,
    /// The environment variables that it was made of.
    pub variables: Vec<String>,
    /// Where each part of `text` comes from, in order; never empty if `text` isn't.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    /// Byte in `text` where it begins.
    start: usize,
    /// Column in the file where it begins.
    column: usize,
    /// Whether it is the content of a variable, all of which has one column.
    is_variable: bool,
}

impl Value {
    /// The words of it, each with its column.
    pub fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.split_ascii_whitespace().map(|word| (self.column_at(word), word))
    }

    /// Column of the first character.
    pub fn column(&self) -> usize {
        self.column_of(0)
    }

    /// Column of a part of it, such as one of its words, or what begins inside of one.
    pub fn column_at(&self, part: &str) -> usize {
        self.column_of(part.as_ptr().addr() - self.text.as_ptr().addr())
    }

    fn column_of(&self, offset: usize) -> usize {
        match self.parts.iter().rev().find(|part| part.start <= offset) {
            Some(part) if part.is_variable => part.column,
            Some(part) => part.column + self.text[part.start..offset].chars().count(),
            None => 1,
        }
    }

    fn push(&mut self, text: &str, column: usize, is_variable: bool) {
        if !text.is_empty() {
            self.parts.push(Part { start: self.text.len(), column, is_variable });
            self.text.push_str(text);
        }
    }
}

/// Why a file could not be read.
pub(super) enum ReadError {
    Io(String),
    TooLarge { limit: usize },
}

/// Reads the bytes of a file, up to a limit: somebody may have named `/dev/zero`.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX as u64 + 1).read_to_end(&mut text))
        .map_err(|error| ReadError::Io(error.to_string()))?;
    if text.len() > FILE_MAX { Err(ReadError::TooLarge { limit: FILE_MAX }) } else { Ok(text) }
}

/// Whether nothing but blanks stands in it.
pub(super) fn is_empty(text: &[u8]) -> bool {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii().is_empty()
}

/// Reads `text`, and the files that it includes.
pub(super) fn parse(
    path: &Arc<Path>,
    text: &[u8],
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> RawFile {
    let mut parser = Parser {
        env,
        problems,
        raw: RawFile::default(),
        lines: 0,
        open_files: vec![identity(path)],
        included: 0,
    };
    parser.file(path, text);
    parser.raw
}

struct Parser<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Problems,
    raw: RawFile,
    /// Lines read so far, over all files.
    lines: usize,
    /// The files that are being read now, the first one first.
    open_files: Vec<PathBuf>,
    /// Files included so far.
    included: usize,
}

impl Parser<'_> {
    fn file(&mut self, path: &Arc<Path>, text: &[u8]) {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        for (index, bytes) in text.split(|byte| *byte == b'\n').enumerate() {
            self.lines += 1;
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            let start = Span { path: path.clone(), order: self.lines, line: index + 1, column: 1 };
            match decode(bytes) {
                Ok(line) => self.line(&start, line),
                Err((column, kind)) => {
                    self.problems.add(&start.at_column(column), kind);
                    self.skip(&start, bytes.trim_ascii_start().starts_with(b"["));
                }
            }
        }
    }

    fn line(&mut self, start: &Span, line: &str) {
        let content = line.trim_matches(BLANKS);
        let indentation = line.len() - line.trim_start_matches(BLANKS).len();
        let span = start.at_column(indentation + 1);
        match content.chars().next() {
            None | Some('#') => {}
            Some('[') => self.section(span, content),
            Some('@') => self.directive(&span, content),
            Some(_) => self.key(span, content),
        }
    }

    fn section(&mut self, span: Span, content: &str) {
        let Some((name, behind)) = content[1..].split_once(']') else {
            self.problems.add(&span, ErrorKind::UnclosedSection);
            self.skip(&span, true);
            return;
        };
        let behind = behind.trim_start_matches(BLANKS);
        if !behind.is_empty() && !behind.starts_with('#') {
            let column = column_in(&span, content, content.len() - behind.len());
            self.problems.add(&span.at_column(column), ErrorKind::TextAfterSection);
        }
        self.open_section(span, Some(name.trim_matches(BLANKS).to_owned()));
    }

    fn key(&mut self, span: Span, content: &str) {
        let (key, rest) = split_word(content);
        let column = column_in(&span, content, content.len() - rest.len());
        let sign = separator_sign(key, rest);
        let entry = if let Some((name, sign)) = sign {
            let kind = ErrorKind::Separator { key: name.to_owned(), sign: sign.to_string() };
            self.problems.add(&span, kind);
            RawEntry { key: name.to_owned(), span, value: None }
        } else {
            let value = self.expand(&span.at_column(column), rest);
            self.warn_of_comment(&span.at_column(column), rest);
            RawEntry { key: key.to_owned(), span, value }
        };
        match self.raw.sections.last_mut() {
            Some(section) => section.entries.push(entry),
            None => {
                self.problems.add(&entry.span, ErrorKind::KeyBeforeSection { key: entry.key });
            }
        }
    }

    fn warn_of_comment(&mut self, start: &Span, value: &str) {
        let after_blank = |(at, _): &(usize, _)| *at == 0 || value[..*at].ends_with(BLANKS);
        if let Some((at, _)) = value.match_indices('#').find(after_blank) {
            let column = column_in(start, value, at);
            self.problems.add(&start.at_column(column), ErrorKind::NotAComment);
        }
    }

    fn directive(&mut self, span: &Span, content: &str) {
        let (name, rest) = split_word(content);
        if !name.eq_ignore_ascii_case("@INCLUDE") {
            self.problems.add(span, ErrorKind::UnknownDirective { name: name.to_owned() });
            self.skip(span, false);
            return;
        }
        let column = column_in(span, content, content.len() - rest.len());
        self.warn_of_comment(&span.at_column(column), rest);
        let value = self.expand(&span.at_column(column), rest);
        let included = value.is_some_and(|value| self.include(span, &value));
        if !included {
            self.skip(span, false);
        }
    }

    /// Reads a file in place of the line that names it.
    fn include(&mut self, span: &Span, value: &Value) -> bool {
        let name = value.text.trim_matches(BLANKS);
        if name.is_empty() {
            self.problems.add(span, ErrorKind::IncludeWithoutFile);
            return false;
        }
        let span = &span.at_column(value.column());
        let path = span.path.parent().unwrap_or(Path::new("")).join(name);
        match self.open(&path) {
            Ok(text) => {
                self.open_files.push(identity(&path));
                self.file(&Arc::from(path), &text);
                self.open_files.pop();
                true
            }
            Err(kind) => {
                self.problems.add(span, kind);
                false
            }
        }
    }

    fn open(&mut self, path: &Path) -> Result<Vec<u8>, ErrorKind> {
        let file = shown_path(path);
        if self.open_files.contains(&identity(path)) {
            return Err(ErrorKind::IncludeCycle { file });
        }
        if self.open_files.len() > INCLUDE_DEPTH_MAX {
            return Err(ErrorKind::IncludeDepth { file, limit: INCLUDE_DEPTH_MAX });
        }
        self.included += 1;
        if self.included > INCLUDE_COUNT_MAX {
            return Err(ErrorKind::IncludeCount { file, limit: INCLUDE_COUNT_MAX });
        }
        read_file(path).map_err(|error| match error {
            ReadError::Io(reason) => ErrorKind::IncludeUnreadable { file, reason },
            ReadError::TooLarge { limit } => ErrorKind::IncludeTooLarge { file, limit },
        })
    }

    /// Replaces `${NAME}` and `${NAME:-default}`. A `$` before anything else is just that:
    /// many patterns end with it. What only a request can fill in stays as it is.
    fn expand(&mut self, start: &Span, text: &str) -> Option<Value> {
        let mut value = Value::default();
        let mut is_good = true;
        let mut done = 0;
        while let Some(at) = text[done..].find("${").map(|at| at + done) {
            value.push(&text[done..at], column_in(start, text, done), false);
            let column = column_in(start, text, at);
            let end = text[at..].find('}').map_or(text.len(), |end| at + end + 1);
            if is_request_variable(&text[at..end]) {
                value.push(&text[at..end], column, false);
                done = end;
                continue;
            }
            match self.variable(&text[at..end]) {
                Ok((name, content)) => {
                    value.variables.push(name);
                    value.push(&content, column, true);
                }
                Err(kind) => {
                    self.problems.add(&start.at_column(column), kind);
                    is_good = false;
                }
            }
            done = end;
        }
        value.push(&text[done..], column_in(start, text, done), false);
        is_good.then_some(value)
    }

    /// The name of a variable, and what it stands for.
    fn variable(&self, text: &str) -> Result<(String, String), ErrorKind> {
        let bad = || ErrorKind::BadVariable { text: text.to_owned() };
        let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).ok_or_else(bad)?;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(bad());
        }
        let content = match ((self.env)(name), default) {
            (Some(content), None) => content,
            (Some(content), Some(_)) if !content.is_empty() => content,
            (_, Some(default)) => default.to_owned(),
            (None, None) => return Err(ErrorKind::UnsetVariable { name: name.to_owned() }),
        };
        Ok((name.to_owned(), content))
    }

    fn open_section(&mut self, span: Span, name: Option<String>) {
        let is_incomplete = name.is_none();
        self.raw.sections.push(RawSection { name, span, entries: Vec::new(), is_incomplete });
    }

    /// Notes that a line is left out, so that nobody complains of what it may have held.
    fn skip(&mut self, span: &Span, was_section: bool) {
        if was_section {
            self.open_section(span.clone(), None);
        } else if let Some(section) = self.raw.sections.last_mut() {
            section.is_incomplete = true;
        }
    }
}

/// The text of a line, or the column of the first byte that doesn't belong into text.
fn decode(bytes: &[u8]) -> Result<&str, (usize, ErrorKind)> {
    let line = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let column = String::from_utf8_lossy(&bytes[..at]).chars().count() + 1;
        (column, ErrorKind::NotUtf8 { byte: bytes[at] })
    })?;
    match line.chars().position(|c| c == '\0') {
        Some(at) => Err((at + 1, ErrorKind::Nul)),
        None => Ok(line),
    }
}

/// The first word, and what follows behind the blanks.
fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(BLANKS) {
        Some((word, rest)) => (word, rest.trim_start_matches(BLANKS)),
        None => (text, ""),
    }
}

/// The `=` or `:` that people write between key and value out of habit, and the key.
fn separator_sign<'a>(key: &'a str, rest: &str) -> Option<(&'a str, char)> {
    if let Some(at) = key.find(['=', ':']) {
        return Some((&key[..at], char::from(key.as_bytes()[at])));
    }
    let sign = if split_word(rest).0 == "=" { '=' } else { return None };
    Some((key, sign))
}

/// Column of byte `at` of a text that begins at `start`.
fn column_in(start: &Span, text: &str, at: usize) -> usize {
    start.column + text[..at].chars().count()
}

/// Whether a request gives this variable its content.
fn is_request_variable(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|name| REQUEST_VARIABLES.contains(&name))
}

/// What tells whether two paths are the same file.
fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Names that are no environment variables: each request gives them another content.
pub(super) const REQUEST_VARIABLES: [&str; 4] = ["client_ip", "host", "scheme", "request_id"];

const BLANKS: [char; 2] = [' ', '\t'];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes of one file.
const FILE_MAX: usize = 4 << 20;

const INCLUDE_DEPTH_MAX: usize = 8;

/// Files included by all files together: with eight levels, few lines can ask for millions.
const INCLUDE_COUNT_MAX: usize = 256;
