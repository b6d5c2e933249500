//! A Monkey 1.5 request as the engine wants it: slices, cut where they end.

use std::ffi::c_ulong;

use super::raw::{ClientSession, MkPtr, PluginApi, SessionRequest};
use crate::engine::{Awaits, head_end};

/// Borrowed views into a request, valid until it is ended.
pub struct View<'a> {
    /// The head, its empty line included.
    pub head: &'a [u8],
    /// Everything behind it in the buffer.
    pub behind: &'a [u8],
    /// The decoded path.
    pub path: &'a [u8],
    /// Nothing of what the client sent behind is in other hands.
    pub rest_is_ours: bool,
    /// Which bodies Monkey has read.
    pub awaits: Awaits,
    /// Monkey's own decision, read before anything was changed.
    pub may_keep_alive: bool,
}

/// Reads a request.
///
/// # Safety
/// The pointers are those of Stage 30, and nothing of the request is changed
/// while the view is used.
pub unsafe fn view<'a>(
    api: &PluginApi,
    session: *const ClientSession,
    request: *const SessionRequest,
) -> View<'a> {
    // SAFETY: by the contract of this function.
    let (session, request) = unsafe { (&*session, &*request) };
    // SAFETY: the configuration lives as long as the process.
    let config = unsafe { &*api.config };

    let list = &raw const session.request_list;
    let first = session.request_list.next.cast_const();
    let link = &raw const request.head;
    let is_last = std::ptr::eq(request.head.next, list);

    // The buffer's place in the session moved between versions; the first
    // request begins where the buffer does, in all of them.
    let is_first = std::ptr::eq(first, link);
    let length = if is_first {
        session.body_length as usize
    } else {
        // A later one of a pipeline is cut behind its head and has no body.
        request.body.len as usize + 4
    };
    // SAFETY: the buffer holds these bytes, and does not move while the request is processed.
    let bytes = unsafe { slice(MkPtr { data: request.body.data, len: length as c_ulong }) };

    // SAFETY: the path is a slice of the buffer or an allocation of the request.
    let path = unsafe { slice(request.uri_processed) };

    // As `mk_http_keepalive_check` decides, for the last request of the list.
    // For HTTP/1.0 the flag itself says that the client asked for it.
    let may_keep_alive = is_last
        && config.keep_alive != 0
        && request.keep_alive != 0
        && request.close_now == 0
        && request.protocol >= 10
        && session.counter_connections < config.max_keep_alive_request;
    // Where Monkey sees the head's end is not where it is: it takes an empty
    // line at the very end of the data for it.
    let (head, behind) = bytes.split_at(head_end(bytes).unwrap_or(bytes.len()));
    View { head, behind, path, rest_is_ours: is_first && is_last, awaits: AWAITS, may_keep_alive }
}

/// Monkey waits for the whole body of these, and refuses their chunked ones.
pub const AWAITS: Awaits = Awaits { length: |method| matches!(method, "POST" | "PUT"), chunked: |_| false };

/// For a request of which it has seen nothing but the head.
pub const AWAITS_NOTHING: Awaits = Awaits { length: |_| false, chunked: |_| false };

/// # Safety
/// `pointer` is null or leads to `len` bytes that stay for `'a`.
unsafe fn slice<'a>(pointer: MkPtr) -> &'a [u8] {
    if pointer.data.is_null() {
        return &[];
    }
    // SAFETY: by the contract of this function.
    unsafe { std::slice::from_raw_parts(pointer.data.cast(), pointer.len as usize) }
}
