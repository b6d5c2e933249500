//! System calls on a client's own socket, and other C odds and ends that both
//! families need.

use std::ffi::{CStr, c_char, c_int};
use std::io::{self, IoSlice};

use crate::engine::Sent;

/// Writes to an unencrypted client without blocking.
///
/// # Errors
/// As `sendmsg(2)`.
pub fn send(fd: c_int, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let sent = match bytes {
        // SAFETY: the slice is valid for the call.
        [one] => unsafe { libc::send(fd, one.as_ptr().cast(), one.len(), flags) },
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
pub fn reset_on_close(fd: c_int) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the option's value is valid for the call; a closed descriptor is an error, ignored.
    let _ = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
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
