//! Lines for a file, without a worker ever waiting for a disk: they go into a buffer of a bounded
//! size, which a thread of its own writes. What does not fit is dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;

use super::line;
use crate::config::LogFormat;
use crate::engine::seldom::Seldom;
use crate::engine::{Now, Shared};

/// Most bytes that wait to be written to one file.
const MOST_BYTES: usize = 1 << 20;
/// How long the thread waits for company for the first line: many lines in one write.
const BATCH: Duration = Duration::from_millis(100);

/// A file that gets lines. Shared by all workers and the thread that writes.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    format: LogFormat,
    queue: Mutex<Queue>,
    /// Bytes that were pushed and are not written yet.
    unwritten: AtomicUsize,
}

/// What waits to be written. The lock is held for a copy or a swap, never across a system call.
#[derive(Debug)]
struct Queue {
    lines: Vec<u8>,
    /// Lines that found no room since the last swap.
    dropped: u64,
}

impl LogFile {
    /// A file that nobody has opened yet.
    pub fn new(path: &Path, format: LogFormat) -> Self {
        // The pages of it are there when they are needed.
        let queue = Mutex::new(Queue { lines: Vec::with_capacity(MOST_BYTES), dropped: 0 });
        LogFile { path: path.to_owned(), format, queue, unwritten: AtomicUsize::new(0) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its lines look like.
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Takes a line, its end included; true if the thread has to be woken for it.
    fn push(&self, line: &[u8]) -> bool {
        let mut queue = self.queue.lock();
        let before = queue.lines.len();
        if before + line.len() > MOST_BYTES {
            queue.dropped += 1;
            return false;
        }
        queue.lines.extend_from_slice(line);
        self.unwritten.fetch_add(line.len(), Ordering::Relaxed);
        let half = MOST_BYTES / 2;
        before == 0 || (before < half && queue.lines.len() >= half)
    }

    /// Swaps what waits for an empty buffer; gives how many lines were dropped before.
    fn take(&self, buffer: &mut Vec<u8>) -> u64 {
        buffer.clear();
        let mut queue = self.queue.lock();
        std::mem::swap(&mut queue.lines, buffer);
        std::mem::take(&mut queue.dropped)
    }
}

/// All the files, and the thread that writes them.
#[derive(Debug, Default)]
pub struct Logs {
    files: Vec<Arc<LogFile>>,
    writer: OnceLock<Thread>,
    /// The server is about to end: nobody waits for company.
    hurry: AtomicBool,
}

impl Logs {
    /// The file of this path; the first who names it says what its lines look like.
    pub fn file(&mut self, path: &Path, format: LogFormat) -> Arc<LogFile> {
        if let Some(file) = self.files.iter().find(|file| file.path == path) {
            return Arc::clone(file);
        }
        let file = Arc::new(LogFile::new(path, format));
        self.files.push(Arc::clone(&file));
        file
    }

    /// Gives a line to a file. Never waits for it to be written.
    pub fn push(&self, file: &LogFile, line: &[u8]) {
        if file.push(line)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }

    /// Asks for all that waits to be written at once. Takes no lock and no memory: it may run in the
    /// handler of a signal.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Whether all is written. Without a thread that writes nothing ever will be.
    pub fn is_written(&self) -> bool {
        self.writer.get().is_none()
            || self.files.iter().all(|file| file.unwritten.load(Ordering::Relaxed) == 0)
    }
}

/// Starts the thread that writes, if there is a file. Call it in the process that serves.
pub fn start(shared: &Arc<Shared>, clock: fn() -> Now) {
    if shared.logs.files.is_empty() {
        return;
    }
    let owner = Arc::clone(shared);
    let run = move || {
        // First of all: whoever pushes from now on wakes us, and what was pushed before is seen below.
        let _ = owner.logs.writer.set(thread::current());
        let mut writers: Vec<Writer> = owner.logs.files.iter().map(Writer::new).collect();
        loop {
            // A file that cannot be opened is told of before its first line is lost.
            writers.iter_mut().for_each(|writer| writer.write(clock()));
            thread::park();
            if !owner.logs.hurry.load(Ordering::Relaxed) {
                thread::park_timeout(BATCH);
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("proxy-log".into()).spawn(run) {
        log::error!("ProxyLog cannot be written: no thread: {error}");
    }
}

/// The thread's side of one file.
struct Writer {
    file: Arc<LogFile>,
    open: Option<Open>,
    buffer: Vec<u8>,
    /// Lines that were lost and not told of in the file.
    lost: u64,
    /// The last write ended inside a line.
    is_torn: bool,
    troubles: Seldom,
}

struct Open {
    file: File,
    /// Device and inode, by which it shows that another one has its name now.
    is: (u64, u64),
}

impl Writer {
    fn new(file: &Arc<LogFile>) -> Self {
        Writer {
            file: Arc::clone(file),
            open: None,
            buffer: Vec::with_capacity(MOST_BYTES),
            lost: 0,
            is_torn: false,
            troubles: Seldom::new(),
        }
    }

    /// Writes what waits.
    fn write(&mut self, now: Now) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.lost += self.file.take(&mut buffer);
        let taken = buffer.len();
        if let Err(error) = self.try_write(&buffer, now) {
            self.lost += count_lines(&buffer);
            let path = self.file.path.display();
            if let Some(left_out) = self.troubles.say(now.ms) {
                log::error!("ProxyLog {path}: {error}{left_out}");
            }
        }
        self.buffer = buffer;
        self.file.unwritten.fetch_sub(taken, Ordering::Relaxed);
    }

    fn try_write(&mut self, lines: &[u8], now: Now) -> io::Result<()> {
        let is_torn = self.is_torn;
        let lost = self.lost;
        let format = self.file.format;
        let open = self.opened()?;
        if lines.is_empty() {
            return Ok(());
        }
        if is_torn || lost > 0 {
            let mut line = if is_torn { b"\n".to_vec() } else { Vec::new() };
            line::lost(&mut line, format, lost, now);
            open.file.write_all(&line)?;
            self.lost = 0;
            self.is_torn = false;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut rest = lines;
        while !rest.is_empty() {
            match open.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.is_torn = rest[n - 1] != b'\n';
                    rest = &rest[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The file of our name, as it is now: whoever moves it away gets a new one.
    fn opened(&mut self) -> io::Result<&mut Open> {
        let path = &self.file.path;
        let is_there = match (&self.open, std::fs::metadata(path)) {
            (Some(open), Ok(found)) => open.is == (found.dev(), found.ino()),
            _ => false,
        };
        if !is_there {
            self.open = None;
            self.is_torn = false;
        }
        match &mut self.open {
            Some(open) => Ok(open),
            none => {
                let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
                let found = file.metadata()?;
                Ok(none.insert(Open { file, is: (found.dev(), found.ino()) }))
            }
        }
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: Now = Now { ms: 1000, us: 1_000_000, unix: 0 };

    fn writer(path: &Path) -> Writer {
        Writer::new(&Arc::new(LogFile::new(path, LogFormat::Text)))
    }

    #[test]
    fn who_moves_the_file_gets_a_new_one_and_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("p.log"), folder.path().join("p.log.1"));
        let mut writer = writer(&path);
        writer.file.push(b"one\n");
        writer.write(NOW);
        fs::rename(&path, &moved).unwrap();
        writer.file.push(b"two\n");
        writer.write(NOW);
        fs::remove_file(&path).unwrap();
        writer.file.push(b"three\n");
        writer.write(NOW);
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn what_does_not_fit_is_dropped_counted_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.log");
        let mut writer = writer(&path);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let woken = (0..2000).filter(|_| writer.file.push(&line)).count();
        assert_eq!(woken, 2, "at the first line and when it is half full");
        writer.write(NOW);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("time=1970-01-01T00:00:00Z lost=976\n"), "{}", &text[..60]);
        assert_eq!(count_lines(text.as_bytes()), 1 + 1024);
        writer.file.push(b"again\n");
        writer.write(NOW);
        assert!(fs::read_to_string(&path).unwrap().ends_with("x\nagain\n"));
    }

    #[test]
    fn lines_that_could_not_be_written_are_told_of_once_they_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/yet/p.log");
        let mut writer = writer(&path);
        writer.file.push(b"one\ntwo\n");
        writer.write(NOW);
        assert_eq!(writer.file.unwritten.load(Ordering::Relaxed), 0, "the end of the server would wait");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        writer.file.push(b"three\n");
        writer.write(NOW);
        assert_eq!(fs::read_to_string(&path).unwrap(), "time=1970-01-01T00:00:00Z lost=2\nthree\n");
    }
}
