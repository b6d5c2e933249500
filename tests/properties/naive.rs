//! Plain readers to compare with: slow, short, and on their own.

/// A head taken apart.
pub struct Head<'a> {
    /// The request or status line.
    pub first: &'a [u8],
    /// Names and values in order, the values without blanks at their ends.
    pub fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Reads a head that we wrote; panics unless it is perfect.
    pub fn read(bytes: &'a [u8]) -> Head<'a> {
        let text = bytes.strip_suffix(b"\r\n\r\n").expect("an empty line at the end");
        let mut lines = lines(text);
        for line in &lines {
            assert!(!line.is_empty(), "an empty line within the head");
            let control = |b: &u8| (*b < b' ' && *b != b'\t') || *b == 0x7f;
            assert!(!line.iter().any(control), "a control character in {:?}", shown(line));
        }
        let first = lines.remove(0);
        let fields = lines.into_iter().map(|line| {
            let (name, value) = split_field(line).unwrap_or_else(|| panic!("no colon in {:?}", shown(line)));
            let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
            assert!(!name.is_empty() && name.iter().all(token), "the name {:?}", shown(name));
            (name, value)
        });
        Head { first, fields: fields.collect() }
    }

    /// Reads a head that somebody sent, as a careless server might: LF ends a line, a CR in
    /// front of it is dropped, what has no colon is skipped.
    pub fn read_carelessly(bytes: &'a [u8]) -> Head<'a> {
        let mut lines = bytes.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
        let fields = lines.take_while(|line| !line.is_empty()).filter_map(split_field);
        Head { first, fields: fields.collect() }
    }

    /// The values of a field.
    pub fn all(&self, name: &str) -> Vec<&'a [u8]> {
        self.fields.iter().filter(|(n, _)| is(n, name)).map(|(_, value)| *value).collect()
    }

    /// What the `Connection` lines name, in lower case.
    pub fn nominated(&self) -> Vec<Vec<u8>> {
        let lists = self.all("connection").into_iter();
        lists.flat_map(elements).map(<[u8]>::to_ascii_lowercase).collect()
    }
}

/// The elements of a list, without the blanks around them.
pub fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&b| b == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether `Connection` lines that name these options take this field away. What identifies a
/// user they cannot.
pub fn takes_away(nominated: &[Vec<u8>], name: &[u8]) -> bool {
    nominated.contains(&name.to_ascii_lowercase()) && !is_one_of(name, &["cookie", "authorization"])
}

/// Whether a name is this one, letter case aside.
pub fn is(name: &[u8], other: &str) -> bool {
    name.eq_ignore_ascii_case(other.as_bytes())
}

/// Whether a name is among these, letter case aside.
pub fn is_one_of(name: &[u8], others: &[&str]) -> bool {
    others.iter().any(|other| is(name, other))
}

/// Bytes as text for a message.
pub fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Panics unless both are the same, and shows them.
#[track_caller]
pub fn assert_same(left: &[u8], right: &[u8]) {
    assert!(left == right, "\n{}\nis not\n{}", shown(left), shown(right));
}

/// Without blanks and tabs at both ends.
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&b| b == b':')?;
    Some((&line[..colon], trim(&line[colon + 1..])))
}

/// The lines of a text whose line ends are CR LF, and nothing else is.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut begin) = (Vec::new(), 0);
    for at in 0..text.len().saturating_sub(1) {
        if &text[at..at + 2] == b"\r\n" {
            lines.push(&text[begin..at]);
            begin = at + 2;
        }
    }
    lines.push(&text[begin..]);
    lines
}

/// A chunked body as far as it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    /// The content up to the end, to the mistake, or to where the bytes end.
    pub content: Vec<u8>,
    /// How it went on from there.
    pub end: ChunksEnd,
    /// The lines of its trailers.
    pub trailers: Vec<Vec<u8>>,
}

/// How a chunked body ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum ChunksEnd {
    /// More must come.
    #[default]
    Cut,
    /// With its final empty line; so many bytes were its own.
    Whole(usize),
    /// In a mistake.
    Bad,
}

/// Decodes a chunked body with the limits given: bytes of a line with a size, its CR counted,
/// and bytes of all trailer lines, their line ends not counted.
pub fn chunks(input: &[u8], max_size_line: usize, max_trailers: usize) -> Chunks {
    let mut body = Chunks::default();
    let outcome = read_chunks(input, max_size_line, max_trailers, &mut body);
    body.end = match outcome {
        Ok(at) => ChunksEnd::Whole(at),
        Err(end) => end,
    };
    body
}

fn read_chunks(
    input: &[u8],
    max_size_line: usize,
    max_trailers: usize,
    body: &mut Chunks,
) -> Result<usize, ChunksEnd> {
    let mut at = 0;
    loop {
        let line = line_at(input, at);
        let digits = line.text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, behind) = line.text.split_at(digits);
        let significant = size.iter().skip_while(|&&b| b == b'0').count();
        let extension = behind.trim_ascii_start();
        let blanks = &behind[..behind.len() - extension.len()];
        let good = line.text.len() + usize::from(line.has_cr) <= max_size_line
            && significant <= 16
            && (digits > 0 || line.text.is_empty() && !line.has_cr)
            && blanks.iter().all(|b| b" \t".contains(b))
            && (extension.is_empty() || extension[0] == b';' && extension.iter().all(is_text));
        if !good || line.broken {
            return Err(ChunksEnd::Bad);
        }
        if !line.ended {
            return Err(ChunksEnd::Cut);
        }
        let text: String = size.iter().map(|&b| char::from(b)).collect();
        let size = u64::from_str_radix(&text, 16).unwrap_or(u64::MAX);
        if size > i64::MAX as u64 {
            return Err(ChunksEnd::Bad);
        }
        at = line.next;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(input.len() - at);
        let data = &input[at..at + size];
        body.content.extend_from_slice(data);
        at += size;
        match &input[at..input.len().min(at + 2)] {
            b"" | b"\r" => return Err(ChunksEnd::Cut),
            b"\r\n" => at += 2,
            _ => return Err(ChunksEnd::Bad),
        }
    }
    let mut left = max_trailers;
    loop {
        let line = line_at(input, at);
        let begins_well = line.text.first().is_none_or(|&b| b > b' ');
        if line.broken || line.text.len() > left || !begins_well || !line.text.iter().all(is_text) {
            return Err(ChunksEnd::Bad);
        }
        if !line.ended {
            return Err(ChunksEnd::Cut);
        }
        at = line.next;
        left -= line.text.len();
        if line.text.is_empty() {
            return Ok(at);
        }
        body.trailers.push(line.text.to_vec());
    }
}

struct Line<'a> {
    /// Without its line end.
    text: &'a [u8],
    /// A CR follows.
    has_cr: bool,
    /// CR LF follows.
    ended: bool,
    /// Something else than LF follows its CR.
    broken: bool,
    /// Where the next line begins.
    next: usize,
}

fn line_at(input: &[u8], at: usize) -> Line<'_> {
    let rest = &input[at..];
    let length = rest.iter().position(|&b| b == b'\r').unwrap_or(rest.len());
    let behind = &rest[length..];
    Line {
        text: &rest[..length],
        has_cr: !behind.is_empty(),
        ended: behind.starts_with(b"\r\n"),
        broken: behind.len() >= 2 && !behind.starts_with(b"\r\n"),
        next: at + length + 2,
    }
}

/// No control character but the tab.
fn is_text(byte: &u8) -> bool {
    (*byte >= b' ' || *byte == b'\t') && *byte != 0x7f
}
