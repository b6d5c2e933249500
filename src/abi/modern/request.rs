//! A Monkey 1.8 request as the engine wants it. The server scribbles into its
//! receive buffer; what it overwrote is put back in a copy of the head.

use std::ffi::{c_uint, c_ulong};

use super::raw::{MkHttpRequest, MkHttpSession, MkPtr, MkServer};
use crate::engine::{Awaits, head_end};

/// Monkey waits for every body with a length, and for chunked ones of POST and PUT.
pub const AWAITS: Awaits = Awaits { length: |_| true, chunked: |method| matches!(method, "POST" | "PUT") };

/// For a request of which it has seen nothing but the head.
pub const AWAITS_NOTHING: Awaits = Awaits { length: |_| false, chunked: |_| false };

/// The size that a plain connection's receive buffer begins with (`MK_REQUEST_CHUNK`).
const REQUEST_CHUNK: c_uint = 4096;

/// Borrowed views into a request, valid until it is ended.
pub struct View<'a> {
    /// What is behind the head in the buffer.
    pub behind: &'a [u8],
    /// Monkey's own decision.
    pub may_keep_alive: bool,
}

/// Reads a request; its head goes into `head`.
///
/// # Safety
/// The pointers are those of Stage 30, and nothing of the request is changed
/// while the view is used.
pub unsafe fn view<'a>(
    plain: bool,
    server: *const MkServer,
    session: *const MkHttpSession,
    request: *const MkHttpRequest,
    head: &mut Vec<u8>,
) -> View<'a> {
    // SAFETY: by the contract of this function.
    let (server, session, request) = unsafe { (&*server, &*session, &*request) };
    // SAFETY: the buffer holds these bytes, and does not move while the request is processed.
    let buffer = unsafe { slice(MkPtr { data: session.body, len: c_ulong::from(session.body_length) }) };

    let length = head_end(buffer).unwrap_or(buffer.len());
    head.clear();
    head.extend_from_slice(&buffer[..length]);
    // A number and never read from: the path may stand in another allocation,
    // and when the buffer has grown meanwhile, in one that is freed.
    let path = request.uri_processed;
    let behind_path =
        (path.data as usize).wrapping_add(path.len as usize).wrapping_sub(buffer.as_ptr() as usize);
    restore(head, behind_path);

    // Once its buffer has grown, the server keeps slices of the buffer before
    // the next growth, reads them, and writes through them.
    let has_grown = plain && session.body_size > REQUEST_CHUNK;
    // As `mk_http_keepalive_check` has decided, and as `mk_http_request_end` will.
    let may_keep_alive = !has_grown
        && server.keep_alive != 0
        && session.close_now == 0
        && request.protocol == 11
        && session.counter_connections < server.max_keep_alive_request;
    View { behind: &buffer[length..], may_keep_alive }
}

/// Puts back the blank or the `?` that the server overwrote with a NUL. (Its
/// own slice of the query may be that of an earlier request.)
fn restore(head: &mut [u8], at: usize) {
    if head.get(at) != Some(&0) {
        return;
    }
    let rest = head[at + 1..].split(|&b| b == b'\r').next().unwrap_or_default();
    // Behind the blank there is a version and nothing else.
    let version = rest.starts_with(b"HTTP/") && !rest.contains(&b' ');
    head[at] = if version { b' ' } else { b'?' };
}

/// # Safety
/// `pointer` is null or leads to `len` bytes that stay for `'a`.
unsafe fn slice<'a>(pointer: MkPtr) -> &'a [u8] {
    if pointer.data.is_null() {
        return &[];
    }
    // SAFETY: by the contract of this function.
    unsafe { std::slice::from_raw_parts(pointer.data.cast(), usize::try_from(pointer.len).unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_overwrote_is_put_back_h24() {
        for (text, at) in [
            ("GET /a HTTP/1.1\r\n\r\n", 6),
            ("GET /a?x=1 HTTP/1.1\r\n\r\n", 6),
            ("GET /a? HTTP/1.1\r\n\r\n", 6),
            ("GET /a?HTTP/1.1 HTTP/1.1\r\n\r\n", 6),
        ] {
            let mut head = text.as_bytes().to_vec();
            head[at] = 0;
            restore(&mut head, at);
            assert_eq!(head, text.as_bytes());
            restore(&mut head, usize::MAX);
            assert_eq!(head, text.as_bytes());
        }
    }
}
