//! A pipe through which long bodies pass from a backend to a client without being copied.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Bytes that it holds, where the system allows that.
pub const CAPACITY: usize = 256 * 1024;

/// A pipe of this process, empty but while bytes are on their way.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    /// An empty one.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Pipe> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // One of 64 KB does as well.
        let _ = fcntl_setpipe_size(&writer, CAPACITY);
        Ok(Pipe { reader, writer })
    }

    /// Takes up to so many bytes out of a socket; 0 is its end.
    ///
    /// # Errors
    /// As `splice(2)`.
    pub fn fill(&self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        Ok(splice(socket, None, &self.writer, None, most, flags)?)
    }

    /// Puts so many of its bytes into a socket.
    ///
    /// # Errors
    /// As `splice(2)`. The caller has SIGPIPE blocked or ignored.
    pub fn pour(&self, socket: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        loop {
            match splice(&self.reader, None, socket, None, bytes, flags) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Copies the last `bytes` bytes out of it; it is empty then.
    ///
    /// # Errors
    /// As `read(2)`, or when there are fewer.
    pub fn drain(&self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut content = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            match rustix::io::read(&self.reader, &mut content[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_the_rest_can_be_had_back() {
        let (mut backend, from) = UnixStream::pair().unwrap();
        let (to, mut client) = UnixStream::pair().unwrap();
        let pipe = Pipe::new().unwrap();
        backend.write_all(b"0123456789").unwrap();
        assert_eq!(pipe.fill(&from, 8).unwrap(), 8);
        assert_eq!(pipe.pour(to.as_fd(), 5).unwrap(), 5);
        assert_eq!(pipe.drain(3).unwrap(), b"567");
        assert_eq!(pipe.fill(&from, 8).unwrap(), 2);
        assert_eq!(pipe.pour(to.as_fd(), 2).unwrap(), 2);
        assert!(pipe.drain(1).is_err(), "it is empty");
        drop(backend);
        assert_eq!(pipe.fill(&from, 8).unwrap(), 0);
        let mut seen = [0; 7];
        client.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"0123489");
    }
}
