//! System calls on a client's own socket, and other C odds and ends that both
//! families need.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use crate::engine::{Pipe, Received, Sent};

/// Pieces that are no longer than this in all go out as one: to copy them costs less than to let
/// the kernel gather them.
const TOGETHER: usize = 2048;

/// Writes to an unencrypted client without blocking.
///
/// # Errors
/// As `sendmsg(2)`.
pub fn send(fd: c_int, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the slice is valid for the call.
    let send_one = |one: &[u8]| unsafe { libc::send(fd, one.as_ptr().cast(), one.len(), flags) };
    let sent = match bytes {
        [one] => send_one(one),
        few if length(few) <= TOGETHER => send_one(gather(few, 0, &mut [MaybeUninit::uninit(); TOGETHER])),
        many => {
            // SAFETY: all-zero is a valid msghdr.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            // IoSlice has the layout of iovec by its documentation.
            message.msg_iov = many.as_ptr().cast_mut().cast();
            message.msg_iovlen = many.len() as _;
            // SAFETY: the vector and what it points to are valid for the call, and only read.
            unsafe { libc::sendmsg(fd, &raw const message, flags) }
        }
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// How many bytes there are in all.
fn length(bytes: &[IoSlice<'_>]) -> usize {
    bytes.iter().map(|slice| slice.len()).sum()
}

/// So many bytes from the place `from` on, if they lie in one slice.
fn in_one<'a>(bytes: &'a [IoSlice<'_>], mut from: usize, length: usize) -> Option<&'a [u8]> {
    for slice in bytes {
        if from < slice.len() {
            return slice.get(from..from + length);
        }
        from -= slice.len();
    }
    None
}

/// Copies the bytes from the place `from` on, as many as there are and fit.
fn gather<'a>(bytes: &[IoSlice<'_>], mut from: usize, into: &'a mut [MaybeUninit<u8>]) -> &'a [u8] {
    let mut filled = 0;
    for slice in bytes {
        let part = slice.get(from..).unwrap_or_default();
        let part = &part[..part.len().min(into.len() - filled)];
        // SAFETY: there is room for the part, in a buffer that is nobody else's; bytes may be copied
        // whatever they are.
        unsafe {
            into.as_mut_ptr().add(filled).cast::<u8>().copy_from_nonoverlapping(part.as_ptr(), part.len())
        };
        filled += part.len();
        from = from.saturating_sub(slice.len());
    }
    // SAFETY: so many were filled just now.
    unsafe { std::slice::from_raw_parts(into.as_ptr().cast(), filled) }
}

/// Offers bytes in a pipe to an unencrypted client, without blocking.
pub fn splice(fd: c_int, from: &Pipe, bytes: usize) -> Sent {
    // SAFETY: the descriptor is a client's, open for the call.
    outcome(from.pour(unsafe { BorrowedFd::borrow_raw(fd) }, bytes))
}

/// Whether this thread may splice into sockets: to one that the client has closed that makes a
/// SIGPIPE, which no flag prevents.
pub fn may_splice() -> bool {
    // SAFETY: all-zero is valid for both; the calls only fill them.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        let mut action: libc::sigaction = std::mem::zeroed();
        let has_mask = libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut blocked) == 0;
        let has_action = libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) == 0;
        (has_mask && libc::sigismember(&raw const blocked, libc::SIGPIPE) == 1)
            || (has_action && action.sa_sigaction == libc::SIG_IGN)
    }
}

/// How many bytes more the socket of an unencrypted client takes for certain.
pub fn room(fd: c_int) -> usize {
    /// What the kernel takes of its memory for one byte, at most: a packet to a client with a small
    /// window has a few hundred of them (`tcp_bound_to_half_wnd`), and costs 1280 bytes beside.
    const COST: u32 = 8;
    let mut memory = [0_u32; 16];
    let mut length = libc::socklen_t::try_from(size_of_val(&memory)).unwrap_or(0);
    // SAFETY: the kernel fills at most `length` bytes of the array.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, memory.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return 0;
    }
    // SK_MEMINFO_SNDBUF and SK_MEMINFO_WMEM_QUEUED of linux/sock_diag.h.
    let (capacity, queued) = (memory[3], memory[5]);
    (capacity.saturating_sub(queued) / COST) as usize
}

/// Reads from an unencrypted client without blocking.
pub fn receive(fd: c_int, buffer: &mut [u8]) -> Received {
    // SAFETY: the buffer is valid for the call; a closed descriptor is an error.
    let n = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    arrived(n)
}

/// Acknowledges what a client has sent at once (`TCP_QUICKACK` of `tcp(7)`).
pub fn acknowledge(fd: c_int) {
    let on: c_int = 1;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, &on);
}

/// Sets an option of a socket. What does not have it, or is closed, is an error, ignored.
fn set_option<T: Copy>(fd: c_int, level: c_int, option: c_int, value: &T) {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is valid for the call, which only reads it.
    let _ = unsafe { libc::setsockopt(fd, level, option, std::ptr::from_ref(value).cast(), length) };
}

/// Looks at what an unencrypted client has sent, and leaves it where it is;
/// answers as `recv(2)` does.
pub fn peek(fd: c_int, buffer: &mut [u8]) -> c_int {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is valid for the call; a closed descriptor is an error.
    let n = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    c_int::try_from(n).unwrap_or(c_int::MAX)
}

/// What the result of reading means to the engine.
pub fn arrived(n: isize) -> Received {
    match usize::try_from(n) {
        Ok(0) => Received::End,
        Ok(n) => Received::Bytes(n),
        Err(_) => match io::Error::last_os_error().kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Received::Nothing,
            _ => Received::Gone,
        },
    }
}

/// Reads through a TLS transport, and asks again where that failed for no
/// reason: OpenSSL judges by a queue of errors in which those of other
/// connections stand too, but only when it has emptied the socket.
pub fn read_through(fd: c_int, mut read: impl FnMut() -> c_int) -> c_int {
    /// What arrives in between looks as if it had been refused; not so often.
    const ATTEMPTS: usize = 4;
    for _ in 0..ATTEMPTS {
        let n = read();
        let baseless = n < 0 && io::Error::last_os_error().raw_os_error() == Some(0);
        // An empty socket leaves "nothing yet" in errno, as it should have been.
        if !baseless || peek(fd, &mut [0]) <= 0 {
            return n;
        }
    }
    // SAFETY: errno of this thread.
    unsafe { *libc::__errno_location() = 0 };
    -1
}

/// What the result of reading through a transport means to the engine.
///
/// A TLS transport may count in what it has decrypted and did not fit (mbedTLS):
/// that is read with the next call.
pub fn arrived_in(room: usize, n: c_int) -> Received {
    arrived(usize::try_from(n).map_or(-1, |n| n.min(room).cast_signed()))
}

/// Tells an unencrypted client that nothing more comes.
pub fn finish_sending(fd: c_int) {
    // SAFETY: a plain system call; a closed descriptor is an error, ignored.
    let _ = unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// The largest piece offered to a transport at once: one TLS record.
const PIECE: usize = 16 * 1024;

/// Writes through a transport until it is full or everything is taken. What is short goes out as
/// one TLS record, however many slices it is in.
///
/// `refused` remembers how long the piece was that a transport did not take:
/// it is to be offered again just so, since a TLS library may have encrypted
/// it already. The bytes themselves come again by themselves: whatever was not
/// taken is offered first the next time, in one slice.
///
/// # Errors
/// As the transport; "would block" only when nothing was taken.
pub fn send_through(
    fd: c_int,
    bytes: &[IoSlice<'_>],
    refused: &Cell<usize>,
    write: impl Fn(&[u8]) -> c_int,
) -> io::Result<usize> {
    let (mut total, all) = (0, length(bytes));
    while total < all {
        let again = refused.take();
        let piece = (all - total).min(if again == 0 { PIECE } else { again });
        let written = match in_one(bytes, total, piece) {
            Some(there) => write(there),
            None => write(gather(bytes, total, &mut [MaybeUninit::uninit(); PIECE][..piece])),
        };
        match usize::try_from(written) {
            Ok(0) => break,
            Ok(n) => total += n.min(piece),
            Err(_) => {
                let mut error = io::Error::last_os_error();
                // A TLS library may report what another connection left
                // behind in its queue of errors. Once is no proof.
                if error.raw_os_error() == Some(0) && again == 0 && is_healthy(fd) {
                    error = io::ErrorKind::WouldBlock.into();
                }
                if error.kind() == io::ErrorKind::WouldBlock {
                    refused.set(piece);
                }
                return if total > 0 { Ok(total) } else { Err(error) };
            }
        }
    }
    Ok(total)
}

/// Whether nothing speaks against a socket: no error, no hang-up.
fn is_healthy(fd: c_int) -> bool {
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one entry, valid for the call, which does not wait.
    let found = unsafe { libc::poll(&raw mut poll, 1, 0) };
    found == 0
}

/// Ends a connection from our side; the server sees a hang-up and closes it.
pub fn shut_down(fd: c_int) {
    // SAFETY: a plain system call; a closed descriptor is an error, ignored.
    let _ = unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Makes the server see the end of what a client sends, at once and whatever
/// else the socket is waiting for. The client notices nothing.
pub fn end_reading(fd: c_int) {
    // SAFETY: a plain system call; a closed descriptor is an error, ignored.
    let _ = unsafe { libc::shutdown(fd, libc::SHUT_RD) };
}

/// What a result of writing means to the engine.
pub fn outcome(result: io::Result<usize>) -> Sent {
    match result {
        Ok(n) => Sent::Bytes(n),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Sent::Bytes(0)
        }
        Err(_) => Sent::Gone,
    }
}

/// Lets the close of `fd` be seen as a reset: a client that reads until the
/// close would take a cut response for a whole one otherwise.
///
/// Over TLS the transport would still say a proper goodbye first, so the reset
/// is sent at once: an end without `close_notify` is no end (RFC 8446 6.1), but
/// not every client looks at that.
pub fn abort(fd: c_int, plain: bool) {
    reset_on_close(fd);
    if !plain {
        disconnect(fd);
    }
}

/// Resets a connection and keeps its descriptor, which then reports a hang-up.
fn disconnect(fd: c_int) {
    // SAFETY: all-zero is a valid address.
    let mut nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
    nowhere.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address is valid for the call; a closed descriptor is an error.
    if unsafe { libc::connect(fd, &raw const nowhere, length) } < 0 {
        shut_down(fd);
    }
}

fn reset_on_close(fd: c_int) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// A C string of the server's.
///
/// # Safety
/// `pointer` is null or leads to a NUL-terminated text that stays for `'a`.
pub unsafe fn c_text<'a>(pointer: *const c_char) -> Option<&'a str> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: by the contract of this function.
    unsafe { CStr::from_ptr(pointer) }.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_refused_piece_is_offered_again_with_its_length() {
        let offered = RefCell::new(Vec::new());
        let answers = RefCell::new(vec![40_000 - 2 * 16_384 - 1, -1, 16_384, 16_384]);
        let write = |piece: &[u8]| {
            offered.borrow_mut().push(piece.len());
            let answer = answers.borrow_mut().pop().unwrap_or(0);
            if answer < 0 {
                // SAFETY: errno of this thread.
                unsafe { *libc::__errno_location() = libc::EAGAIN };
            }
            answer
        };
        let refused = Cell::new(0);
        let (head, body) = (vec![0; 16_384], vec![0; 40_000 - 16_384]);
        let sent = send_through(-1, &[IoSlice::new(&head), IoSlice::new(&body)], &refused, write).unwrap();
        assert_eq!((sent, refused.get()), (2 * 16_384, 40_000 - 2 * 16_384));
        let more = vec![0; 20_000];
        assert_eq!(
            send_through(-1, &[IoSlice::new(&more)], &refused, write).unwrap(),
            40_000 - 2 * 16_384 - 1
        );
        assert_eq!(offered.borrow()[..4], [16_384, 16_384, 7232, 7232]);
    }

    #[test]
    fn a_head_and_a_short_body_were_two_tls_records() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
        for (whole, cuts, pieces) in [
            (141, vec![138], vec![141]),
            (40_000, vec![100], vec![16_384, 16_384, 7232]),
            (20_000, vec![3, 3, 16_390, 19_000], vec![16_384, 3616]),
            (0, vec![0], vec![]),
        ] {
            let mut slices = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([whole]) {
                slices.push(IoSlice::new(&bytes[from..cut]));
                from = cut;
            }
            let written = RefCell::new((Vec::new(), Vec::new()));
            let write = |piece: &[u8]| {
                let (all, lengths) = &mut *written.borrow_mut();
                all.extend_from_slice(piece);
                lengths.push(piece.len());
                c_int::try_from(piece.len()).unwrap()
            };
            assert_eq!(send_through(-1, &slices, &Cell::new(0), write).unwrap(), whole);
            assert_eq!(written.into_inner(), (bytes[..whole].to_vec(), pieces));
        }
    }

    #[test]
    fn a_record_that_was_refused_comes_again_though_it_had_two_parts() {
        let offered = RefCell::new(Vec::new());
        let write = |piece: &[u8]| {
            offered.borrow_mut().push(piece.to_vec());
            if offered.borrow().len() == 1 {
                // SAFETY: errno of this thread.
                unsafe { *libc::__errno_location() = libc::EAGAIN };
                return -1;
            }
            c_int::try_from(piece.len()).unwrap()
        };
        let refused = Cell::new(0);
        let parts = [IoSlice::new(b"head"), IoSlice::new(b"body")];
        let error = send_through(-1, &parts, &refused, write).unwrap_err();
        assert_eq!((error.kind(), refused.get()), (io::ErrorKind::WouldBlock, 8));
        // By then more may have come.
        assert_eq!(send_through(-1, &[IoSlice::new(b"headbodymore")], &refused, write).unwrap(), 12);
        assert_eq!(offered.into_inner(), [&b"headbody"[..], b"headbody", b"more"]);
    }

    #[test]
    fn short_pieces_go_out_together_and_long_ones_too() {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        for (head, body) in [(138, 3), (TOGETHER - 1, 1), (TOGETHER, 1), (10, 60_000)] {
            let (head, body) = (vec![b'h'; head], vec![b'b'; body]);
            let sent = send(ours.as_raw_fd(), &[IoSlice::new(&head), IoSlice::new(&body)]).unwrap();
            let mut room = vec![0; 70_000];
            let came = theirs.recv(&mut room).unwrap();
            assert_eq!((sent, &room[..came]), (head.len() + body.len(), &[head, body].concat()[..]));
        }
    }
}
