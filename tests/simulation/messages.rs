//! HTTP as the far ends read it: strictly, and without a line of the engine's own code.

/// Takes chunks apart.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    state: Chunk,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Chunk {
    #[default]
    Begin,
    Size(Vec<u8>),
    Data(usize),
    /// So many bytes of the line end behind data were read.
    DataEnd(usize),
    /// In a trailer line, or in the empty line at the end.
    Trailer(Vec<u8>),
    Done,
}

impl Chunks {
    pub fn is_done(&self) -> bool {
        self.state == Chunk::Done
    }

    /// Takes from the front of `bytes` what belongs to the body; gives the content to
    /// `content` and answers how many bytes it took.
    pub fn feed(&mut self, bytes: &[u8], content: &mut Vec<u8>) -> Result<usize, String> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            let byte = bytes[at];
            self.state = match std::mem::take(&mut self.state) {
                Chunk::Begin => Chunk::Size(vec![byte]),
                Chunk::Size(mut line) => {
                    line.push(byte);
                    if line.ends_with(b"\r\n") {
                        let text = String::from_utf8_lossy(&line);
                        let digits = text.trim_end().split(';').next().unwrap_or_default();
                        let size = usize::from_str_radix(digits, 16);
                        match size.map_err(|_| format!("no size of a chunk: {text:?}"))? {
                            0 => Chunk::Trailer(Vec::new()),
                            size => Chunk::Data(size),
                        }
                    } else {
                        Chunk::Size(line)
                    }
                }
                Chunk::Data(left) => {
                    let take = left.min(bytes.len() - at);
                    content.extend_from_slice(&bytes[at..at + take]);
                    at += take;
                    self.state = if take == left { Chunk::DataEnd(0) } else { Chunk::Data(left - take) };
                    continue;
                }
                Chunk::DataEnd(n) if byte != b"\r\n"[n] => return Err("no end of a chunk".into()),
                Chunk::DataEnd(0) => Chunk::DataEnd(1),
                Chunk::DataEnd(_) => Chunk::Begin,
                Chunk::Trailer(mut line) => {
                    line.push(byte);
                    match line.as_slice() {
                        b"\r\n" => Chunk::Done,
                        text if text.ends_with(b"\r\n") => Chunk::Trailer(Vec::new()),
                        _ => Chunk::Trailer(line),
                    }
                }
                Chunk::Done => Chunk::Done,
            };
            at += 1;
        }
        Ok(at)
    }
}

/// How a body ends.
#[derive(Clone, Debug)]
pub enum Framing {
    Nothing,
    Length(usize),
    Chunked(Chunks),
    UntilClose,
}

/// The first line and the fields of a head.
#[derive(Clone, Debug)]
pub struct Head {
    pub first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| "a head that is no text")?;
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("no field: {line:?}"))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Head { first, fields })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn framing(&self) -> Result<Option<Framing>, String> {
        let of = |name: &str| -> Vec<&(String, String)> {
            self.fields.iter().filter(|(other, _)| other == name).collect()
        };
        match (&of("content-length")[..], &of("transfer-encoding")[..]) {
            ([], []) => Ok(None),
            ([(_, length)], []) => {
                let length = length.parse().map_err(|_| format!("no length: {length:?}"))?;
                Ok(Some(Framing::Length(length)))
            }
            ([], [(_, coding)]) if coding == "chunked" => Ok(Some(Framing::Chunked(Chunks::default()))),
            _ => Err("the body is framed twice".into()),
        }
    }
}

/// Reads the head of a message, then its body.
#[derive(Clone, Debug)]
pub struct Message {
    text: Vec<u8>,
    pub head: Option<Head>,
    framing: Framing,
    pub content: Vec<u8>,
    /// Bytes behind the head, with their framing.
    pub raw_body: u64,
    pub is_complete: bool,
}

impl Message {
    pub fn new() -> Self {
        Message {
            text: Vec::new(),
            head: None,
            framing: Framing::Nothing,
            content: Vec::new(),
            raw_body: 0,
            is_complete: false,
        }
    }

    /// The first line, as far as it came.
    pub fn beginning(&self) -> String {
        let end = self.text.iter().position(|&b| b == b'\r').unwrap_or(self.text.len());
        String::from_utf8_lossy(&self.text[..end]).into_owned()
    }

    pub fn ends_at_close(&self) -> bool {
        self.head.is_some() && matches!(self.framing, Framing::UntilClose)
    }

    /// Takes from the front of `bytes` what belongs to the message; `decide` says how the
    /// body ends that has neither a length nor chunks, and whether there is one at all.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        decide: impl Fn(&Head, Option<Framing>) -> Framing,
    ) -> Result<usize, String> {
        let mut at = 0;
        while self.head.is_none() && at < bytes.len() {
            self.text.push(bytes[at]);
            at += 1;
            if self.text.ends_with(b"\r\n\r\n") {
                let head = Head::read(&self.text)?;
                self.framing = decide(&head, head.framing()?);
                self.head = Some(head);
            }
        }
        if self.head.is_none() {
            return Ok(at);
        }
        let rest = &bytes[at..];
        let taken = match &mut self.framing {
            Framing::Nothing => 0,
            Framing::Length(left) => {
                let take = rest.len().min(*left);
                self.content.extend_from_slice(&rest[..take]);
                *left -= take;
                take
            }
            Framing::Chunked(chunks) => chunks.feed(rest, &mut self.content)?,
            Framing::UntilClose => {
                self.content.extend_from_slice(rest);
                rest.len()
            }
        };
        self.raw_body += taken as u64;
        self.is_complete = match &self.framing {
            Framing::Nothing | Framing::Length(0) => true,
            Framing::Chunked(chunks) => chunks.is_done(),
            Framing::Length(_) | Framing::UntilClose => false,
        };
        Ok(at + taken)
    }
}

/// The content that belongs to these two numbers, and to no others.
pub fn content(a: usize, b: usize, length: usize) -> Vec<u8> {
    let mut state = (a as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (b as u64 + 7) << 17;
    let mut text = Vec::with_capacity(length + 8);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend((state >> 24).to_le_bytes().iter().take(5).map(|byte| b'a' + byte % 26));
    }
    text.truncate(length);
    text
}

/// The same in chunks of these sizes; `rough` adds what a chunk may have besides.
pub fn in_chunks(content: &[u8], size: usize, rough: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for piece in content.chunks(size.max(1)) {
        let extension = if rough { ";x=y" } else { "" };
        text.extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
        text.extend_from_slice(piece);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(if rough { b"0\r\nX-Trailer: t\r\n\r\n" } else { b"0\r\n\r\n" });
    text
}
