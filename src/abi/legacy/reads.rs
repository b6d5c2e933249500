//! What Monkey 1.5 reads from its clients goes through us: a request of ours
//! is cut behind its head (`crate::abi::intake`), so that its body, of any
//! method, length and framing, comes to us, and requests behind it stay in the
//! kernel until it is their turn.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{c_int, c_void};
use std::io::IoSlice;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::raw::{
    ClientSession, PLUGIN_LINKS, PLUGIN_READ, PluginApi, REQUEST_INCOMPLETE, ReadFn, SessionRequest,
};
use super::version::Memory;
use super::worker;
use crate::abi::bridge::SHARED;
use crate::abi::guard::{Guarded, guard};
use crate::abi::intake::{Held, Intake, Manner, Outcome, Reading, nothing_yet};
use crate::abi::nudge::{self, Nudges};
use crate::abi::socket::{self, c_text, peek};
use crate::engine::intake::Passing;

/// What a descriptor is known for.
#[derive(Clone, Copy)]
struct Line {
    /// Its session, once a Stage 30 has told.
    session: *const ClientSession,
    /// The server has read something of it. Where the next request begins is
    /// not known then until a Stage 30 tells the session.
    met: bool,
    /// Its client sends requests before it has the answers to earlier ones.
    pipelines: bool,
}

const UNKNOWN: Line = Line { session: std::ptr::null(), met: false, pipelines: false };

thread_local! {
    static INTAKE: RefCell<Intake> = RefCell::default();
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    static NUDGES: RefCell<Nudges> = RefCell::default();
    /// Some client of this worker was nudged at some time.
    static NUDGED: Cell<bool> = const { Cell::new(false) };
    /// Descriptors of clients that were nudged and are gone: an event may be left.
    static GHOSTS: RefCell<HashSet<c_int>> = RefCell::default();
}

/// The transport's own function.
static TRANSPORT: OnceLock<ReadFn> = OnceLock::new();
/// Clients send plain bytes.
static PLAIN: OnceLock<bool> = OnceLock::new();

/// Puts us between the server and its transport, before the first client comes.
/// Where the transport is not found, the server goes on reading by itself.
pub fn install(api: &'static PluginApi) {
    TRANSPORT.get_or_init(|| {
        // SAFETY: the server keeps its configuration until it exits.
        let config = unsafe { &*api.config };
        // SAFETY: the configuration's texts live as long as the process.
        let Some(name) = (unsafe { c_text(config.transport_layer) }) else { return read_nothing };
        let _ = PLAIN.set(name == "liana");
        let Some(place) = find(api, name) else {
            log::warn!("the transport {name} was not found: the server's own limits hold for request bodies");
            return read_nothing;
        };
        // SAFETY: the place of a function pointer in the transport's record,
        // which stays as long as the process. Reads of other threads, if there
        // are any already, see the old or the new one.
        let place = unsafe { AtomicPtr::from_ptr(place.as_ptr()) };
        let own = place.swap(read as *mut c_void, Ordering::SeqCst);
        // SAFETY: the record's member has this type (`plugin_network_io.read`).
        unsafe { std::mem::transmute::<*mut c_void, ReadFn>(own) }
    });
}

/// Stands for a transport that was not found; never called.
unsafe extern "C" fn read_nothing(_fd: c_int, _buffer: *mut c_void, _count: c_int) -> c_int {
    -1
}

/// The place of the transport's function for reading. The records of plugins
/// have their links at different places in different versions, so they are
/// looked at as plain memory: the place is right where we find ourselves too.
fn find(api: &PluginApi, transport: &str) -> Option<NonNull<*mut c_void>> {
    let memory = Memory::new().ok()?;
    let list = api.plugins as usize;
    let named = |record: usize, name: &str| memory.is_text(memory.word(record)?, name).then_some(record);
    PLUGIN_LINKS.into_iter().find_map(|links| {
        let next = |link: &usize| memory.word(link + size_of::<usize>()).filter(|&next| next != list);
        let first = next(&list)?;
        let records: Vec<usize> =
            std::iter::successors(Some(first), next).take(256).map(|link| link.wrapping_sub(links)).collect();
        records.iter().find_map(|&record| named(record, "proxy_reverse"))?;
        let found = records.iter().find_map(|&record| named(record, transport))?;
        NonNull::new((found + PLUGIN_READ) as *mut *mut c_void)
            .filter(|_| memory.word(found + PLUGIN_READ).is_some_and(|function| function != 0))
    })
}

/// The transport's own function, behind ours; `api` has the server's way to it.
pub fn server_read(api: &PluginApi) -> ReadFn {
    match TRANSPORT.get() {
        Some(&own) if !std::ptr::fn_addr_eq(own, read_nothing as ReadFn) => own,
        _ => api.socket_read,
    }
}

/// In the place of the transport's own function.
unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, count: c_int) -> c_int {
    let Some(&transport) = TRANSPORT.get() else { return -1 };
    let take = |bytes: &mut [u8]| {
        let length = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
        // SAFETY: the descriptor is the server's own, the place is valid for the call.
        let mut read = || unsafe { transport(fd, bytes.as_mut_ptr().cast(), length) };
        if PLAIN.get() == Some(&true) { read() } else { socket::read_through(fd, read) }
    };
    let (Some(bytes), Ok(length)) = (NonNull::new(buffer.cast::<u8>()), usize::try_from(count)) else {
        // SAFETY: the arguments are the server's own.
        return unsafe { transport(fd, buffer, count) };
    };
    // SAFETY: the server's buffer has room for `count` bytes.
    match guard(|| unsafe { read_for_server(fd, bytes, length, take) }) {
        Guarded::Done(result) => result,
        Guarded::Panicked => {
            worker::poison();
            // What was read may be lost: the connection is over.
            0
        }
    }
}

/// # Safety
/// `buffer` has room for `length` bytes.
unsafe fn read_for_server(
    fd: c_int,
    buffer: NonNull<u8>,
    length: usize,
    take: impl Fn(&mut [u8]) -> c_int,
) -> c_int {
    // SAFETY: by the contract of this function. Bytes of it are only written
    // to, or read behind a write.
    let plain = || take(unsafe { std::slice::from_raw_parts_mut(buffer.as_ptr(), length) });
    let Some(shared) = SHARED.get() else { return plain() };
    if worker::is_poisoned() {
        // What was kept of it is not to be trusted any more.
        let lost = INTAKE.try_with(|intake| intake.try_borrow().is_ok_and(|intake| intake.has_part(fd)));
        return if lost.unwrap_or(true) { 0 } else { plain() };
    }
    INTAKE.with_borrow_mut(|intake| {
        if intake.holds(fd) {
            // A held request never came to its Stage 30. What follows is its
            // body, or worse, which nobody may take for a request.
            intake.release(fd);
            return 0;
        }
        let Some(line) = with_line(fd, |line| *line) else { return plain() };
        // SAFETY: the session lives until Stage 50, which forgets it here.
        let session = unsafe { line.session.as_ref() };
        if session.map_or(line.met, |session| session.body_length > 0) {
            // A body that the server collects itself; not out of what is kept,
            // where it has no part. Without a session it is not known whose turn it is.
            return match (intake.keeps(fd), session) {
                (false, _) => plain(),
                (true, Some(_)) => nothing_yet(),
                (true, None) => 0,
            };
        }
        // To look first costs a system call, so only those pay it of whom
        // nothing is known, or that they send more than one request at once.
        let looks = PLAIN.get() == Some(&true) && (session.is_none() || line.pipelines);
        let reading = if looks { Reading::Peeked } else { Reading::Taken };
        // Of the first burst of a connection the server keeps one request.
        let one = looks || session.is_none();
        let passing = if one { Passing::One } else { Passing::Ordinary };
        let peek = |bytes: &mut [u8]| peek(fd, bytes);
        // SAFETY: by the contract of this function.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.as_ptr(), length) };
        let manner = Manner { reading, passing, keeps: nudge::is_possible() };
        match intake.read(shared, fd, bytes, manner, (peek, &take)) {
            Outcome::Plain(result) => {
                with_line(fd, |line| line.met |= result > 0);
                result
            }
            Outcome::Over(words) => {
                if PLAIN.get() == Some(&true) {
                    let _ = socket::send(fd, &[IoSlice::new(&words)]);
                }
                0
            }
            Outcome::Held(result) | Outcome::Split(result) => {
                with_line(fd, |line| *line = Line { pipelines: true, met: true, ..*line });
                result
            }
        }
    })
}

/// What was read behind the present request: the beginning of the next one.
pub fn take_back(fd: c_int, bytes: Vec<u8>) {
    INTAKE.with_borrow_mut(|intake| intake.take_back(fd, bytes));
}

/// What was held of the request in its Stage 30; notes its session.
///
/// # Safety
/// The pointers are those of Stage 30.
pub unsafe fn release(session: NonNull<ClientSession>, request: NonNull<SessionRequest>) -> Option<Held> {
    // SAFETY: by the contract of this function.
    let fd = unsafe { session.as_ref() }.socket;
    with_line(fd, |line| *line = Line { session: session.as_ptr(), ..*line });
    let held = INTAKE.with_borrow_mut(|intake| intake.release(fd))?;
    for method in ["POST", "PUT"] {
        let rest = held.head.strip_prefix(method.as_bytes());
        if rest.is_some_and(|rest| rest.first() == Some(&b' ')) {
            // SAFETY: by the contract of this function. For the server's log,
            // which only reads it; the text is static.
            let text = unsafe { &mut (*request.as_ptr()).method_p };
            text.data = method.as_ptr().cast_mut().cast();
            text.len = method.len() as std::ffi::c_ulong;
        }
    }
    Some(held)
}

/// A request of this client is about to end; the next one may be here already.
pub fn go_on(fd: c_int) {
    if !INTAKE.with_borrow(|intake| intake.keeps(fd)) {
        return;
    }
    NUDGED.set(true);
    // The server knows its clients by their descriptors (`epoll_data_t.fd`).
    let mut known_by = [0; 8];
    known_by[..4].copy_from_slice(&fd.to_ne_bytes());
    if !NUDGES.with_borrow_mut(|nudges| nudges.nudge(fd, u64::from_ne_bytes(known_by))) {
        // It would wait for ever.
        socket::shut_down(fd);
    }
}

/// Whether an event of this descriptor may be a nudge whose time is over: the
/// client is gone, or it has been read from meanwhile.
pub fn is_out_of_turn(fd: c_int) -> bool {
    if !NUDGED.get() {
        return false;
    }
    // Should it be the first event of the next client, it is reported again.
    let was_ghost = GHOSTS.with_borrow_mut(|ghosts| ghosts.remove(&fd));
    let is_busy = || {
        let session = with_line(fd, |line| line.session);
        // SAFETY: the session lives until Stage 50, which forgets it here.
        let session = session.and_then(|session| unsafe { session.as_ref() });
        session.is_some_and(|session| session.status != REQUEST_INCOMPLETE)
    };
    was_ghost || NUDGES.with_borrow(|nudges| nudges.has(fd)) && is_busy()
}

/// The client is gone. True if an event of it may still be reported in this pass: see [`is_ghost`].
pub fn forget(fd: c_int) -> bool {
    INTAKE.with_borrow_mut(|intake| intake.forget(fd));
    let may_be_reported = NUDGED.get() && NUDGES.with_borrow_mut(|nudges| nudges.forget(fd));
    if may_be_reported {
        GHOSTS.with_borrow_mut(|ghosts| ghosts.insert(fd));
    }
    with_line(fd, |line| *line = UNKNOWN);
    may_be_reported
}

/// Whether an event of a client that is gone may still be reported in this pass. The server asks
/// plugins about it only if it knows the descriptor, and takes it for a new client otherwise.
pub fn is_ghost(fd: c_int) -> bool {
    NUDGED.get() && GHOSTS.with_borrow(|ghosts| ghosts.contains(&fd))
}

fn with_line<R>(fd: c_int, body: impl FnOnce(&mut Line) -> R) -> Option<R> {
    let index = usize::try_from(fd).ok()?;
    LINES.with_borrow_mut(|lines| {
        if lines.len() <= index {
            lines.resize(index + 1, UNKNOWN);
        }
        lines.get_mut(index).map(body)
    })
}
