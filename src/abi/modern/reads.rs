//! What Monkey 1.8 reads from its clients goes through us: a request of ours
//! is cut behind its head (`crate::abi::intake`), so that its body, of any
//! method, length and framing, comes to us, and requests behind it stay in the
//! kernel until it is their turn.
//!
//! A connection gets its protocol from the listening socket that it came in by,
//! so that is where ours is put: a copy of the server's with another `cb_read`,
//! which lends the connection a copy of its transport with another `read`.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{c_int, c_void};
use std::io::IoSlice;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;

use super::LOADED;
use super::host::{is_plain, keep};
use super::raw::{
    CAP_HTTP, LISTENER_LINK, MkHttpSession, MkPlugin, MkPluginNetwork, MkSchedConn, MkSchedHandler,
    MkSchedWorker, MkServer, MkServerListen, NetReadFn, ReadFn,
};
use super::worker;
use crate::abi::bridge::SHARED;
use crate::abi::guard::{Guarded, guard};
use crate::abi::intake::{Held, Intake, Manner, Outcome, Reading, nothing_yet};
use crate::abi::nudge::{self, Nudges};
use crate::abi::socket::{self, peek};
use crate::abi::word::measured;
use crate::engine::intake::Passing;

/// Bytes of the largest transport record of all versions.
const TRANSPORT_SIZE: usize = measured(64, 32, 32);

/// A transport as we lend it to connections: the server's record with our
/// function for reading, and the server's own behind it.
#[repr(C)]
struct Transport {
    record: [*const c_void; TRANSPORT_SIZE / size_of::<*const c_void>()],
    read: NetReadFn,
    original: *const MkPluginNetwork,
}

/// The transports that we met.
#[derive(Clone, Copy)]
struct Known(&'static Transport);

// SAFETY: written once, before it is shared.
unsafe impl Send for Known {}

static TRANSPORTS: Mutex<Vec<Known>> = Mutex::new(Vec::new());

impl Known {
    /// Whether it is this transport, or what we lend instead of it.
    fn is(self, net: *const MkPluginNetwork) -> bool {
        std::ptr::from_ref(self.0).cast() == net || std::ptr::eq(self.0.original, net)
    }
}
/// The server's `cb_read` for HTTP.
static SERVER_READ: OnceLock<ReadFn> = OnceLock::new();
/// The server's protocol for HTTP with our `cb_read`.
static PROTOCOL: AtomicPtr<MkSchedHandler> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    /// Those of `TRANSPORTS` that this thread has met: each read asks, and none is to wait for that.
    static MET: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
    static INTAKE: RefCell<Intake> = RefCell::default();
    /// Descriptors of clients that send requests before they have the answers to earlier ones.
    static PIPELINES: RefCell<HashSet<c_int>> = RefCell::default();
    static NUDGES: RefCell<Nudges> = RefCell::default();
    /// The listening sockets of this thread have our protocol.
    static INSTALLED: Cell<bool> = const { Cell::new(false) };
    /// The connection that the server is reading from.
    static READING: Cell<*mut MkSchedConn> = const { Cell::new(std::ptr::null_mut()) };
}

/// A connection was accepted on this thread, and has no protocol yet
/// (`mk_sched_add_connection` calls Stage 10 first).
pub fn accepted() {
    if INSTALLED.replace(true) {
        return;
    }
    let (Some(loaded), Some(_)) = (LOADED.get(), SHARED.get()) else { return };
    // SAFETY: called on a worker thread.
    let worker = unsafe { (loaded.api.sched_worker_info)() };
    // SAFETY: the worker's record lives as long as its thread.
    let Some(list) =
        NonNull::new(worker).and_then(|worker| NonNull::new(unsafe { worker.as_ref() }.listeners))
    else {
        // Another thread accepts: `listener` is told by the first request.
        return;
    };
    // SAFETY: the list is the thread's own; its links lie inside of listeners.
    unsafe {
        let mut link = list.as_ref().next;
        while link != list.as_ptr() && !link.is_null() {
            listener(link.byte_sub(LISTENER_LINK).cast());
            link = (*link).next;
        }
    }
}

/// Gives a listening socket our protocol.
///
/// # Safety
/// The listener is null or lives as long as the server listens.
pub unsafe fn listener(listener: *mut MkServerListen) {
    if listener.is_null() {
        return;
    }
    // SAFETY: by the contract of this function. Where several threads share a
    // listener they store the same value.
    let place = unsafe { AtomicPtr::from_ptr((&raw mut (*listener).protocol).cast::<*mut MkSchedHandler>()) };
    let present = place.load(Ordering::SeqCst);
    // SAFETY: a protocol is static.
    let Some(protocol) = (unsafe { present.as_ref() }) else { return };
    let Some(read) = protocol.cb_read else { return };
    let is_ours = std::ptr::fn_addr_eq(read, idle_read as ReadFn);
    if is_ours || protocol.capabilities & CAP_HTTP == 0 {
        return;
    }
    if !std::ptr::fn_addr_eq(*SERVER_READ.get_or_init(|| read), read) {
        return;
    }
    if PROTOCOL.load(Ordering::SeqCst).is_null() {
        let copy = keep(MkSchedHandler { cb_read: Some(idle_read), ..*protocol });
        let _ = PROTOCOL.compare_exchange(std::ptr::null_mut(), copy, Ordering::SeqCst, Ordering::SeqCst);
    }
    place.store(PROTOCOL.load(Ordering::SeqCst), Ordering::SeqCst);
}

/// Gives a connection our protocol that has the server's own still, and so has
/// its listening socket: where one thread accepts for all, Stage 10 finds none.
///
/// # Safety
/// The connection is open.
pub unsafe fn adopt(conn: NonNull<MkSchedConn>) {
    // SAFETY: by the contract of this function. A listener lives as long as the
    // server listens, a protocol is static.
    unsafe {
        listener(conn.as_ref().server_listen);
        let present = (*conn.as_ptr()).protocol.as_ref().and_then(|protocol| protocol.cb_read);
        let ours = PROTOCOL.load(Ordering::SeqCst);
        if let (Some(read), Some(&server)) = (present, SERVER_READ.get())
            && std::ptr::fn_addr_eq(read, server)
            && !ours.is_null()
        {
            (*conn.as_ptr()).protocol = ours;
        }
    }
}

/// In the place of the server's `cb_read` while no request of ours is in service.
unsafe extern "C" fn idle_read(
    conn: *mut MkSchedConn,
    worker: *mut MkSchedWorker,
    server: *mut MkServer,
) -> c_int {
    let Some(&read) = SERVER_READ.get() else { return -1 };
    let lent = guard(|| {
        // SAFETY: the server reads from an open connection.
        if let Some(conn) = unsafe { conn.as_mut() } {
            conn.net = lend(conn.net);
            READING.set(conn);
        }
    });
    if lent == Guarded::Panicked {
        worker::poison();
    }
    // SAFETY: the arguments are the server's own.
    let result = unsafe { read(conn, worker, server) };
    READING.set(std::ptr::null_mut());
    if result >= 0 {
        let _ = guard(|| {
            // SAFETY: the connection is open, and its session stands behind it.
            let session = unsafe { &*conn.add(1).cast::<MkHttpSession>() };
            // An error page of the server's own ends its request in there, and
            // tells nobody.
            if (session.sched_init == 0 || session.body_length == 0)
                && let Some(conn) = NonNull::new(conn)
            {
                // SAFETY: as above.
                unsafe { go_on(conn) };
            }
        });
    }
    result
}

/// The transport with our function for reading.
fn lend(net: *mut MkPluginNetwork) -> *mut MkPluginNetwork {
    let known = met(net).or_else(|| learn(net));
    known.map_or(net, |known| std::ptr::from_ref(known.0).cast_mut().cast())
}

/// A transport that this thread has met.
fn met(net: *const MkPluginNetwork) -> Option<Known> {
    MET.with_borrow(|met| met.iter().copied().find(|known| known.is(net)))
}

/// A transport that this thread has not met; `None` if it is none.
fn learn(net: *mut MkPluginNetwork) -> Option<Known> {
    let mut all = TRANSPORTS.lock();
    let known = match all.iter().copied().find(|known| known.is(net)) {
        Some(known) => known,
        None => {
            all.push(copied(net)?);
            *all.last()?
        }
    };
    MET.with_borrow_mut(|met| met.push(known));
    Some(known)
}

/// A record like that of a transport, with our function for reading.
fn copied(net: *mut MkPluginNetwork) -> Option<Known> {
    let loaded = LOADED.get().filter(|_| !net.is_null())?;
    let words = loaded.network_plugin / size_of::<*const c_void>() + 1;
    // SAFETY: the record ends behind the pointer to its plugin.
    let own = unsafe { std::slice::from_raw_parts(net.cast::<*const c_void>(), words) };
    let mut record = [std::ptr::null(); TRANSPORT_SIZE / size_of::<*const c_void>()];
    record[..words].copy_from_slice(own);
    // SAFETY: the transport's record is static.
    let read = unsafe { (*net).read };
    record[0] = net_read as *const c_void;
    let transport: &'static Transport = keep(Transport { record, read, original: net });
    Some(Known(transport))
}

/// The transport's own function for reading.
///
/// # Safety
/// The transport is one of the server's, or one that we lent.
pub unsafe fn server_read(net: *const MkPluginNetwork) -> NetReadFn {
    let known = met(net).or_else(|| TRANSPORTS.lock().iter().copied().find(|known| known.is(net)));
    // SAFETY: by the contract of this function.
    known.map_or_else(|| unsafe { (*net).read }, |known| known.0.read)
}

/// In the place of the transport's own function.
unsafe extern "C" fn net_read(plugin: *mut MkPlugin, fd: c_int, buffer: *mut c_void, count: c_int) -> c_int {
    let conn = READING.get();
    // SAFETY: the server is reading from this connection, with the transport that we lent it.
    let Some(net) = (unsafe { conn.as_ref() }).filter(|conn| conn.event.fd == fd).map(|conn| conn.net) else {
        // Nobody but the server, in its `cb_read`, comes here.
        return -1;
    };
    // SAFETY: as above; what we lend is a `Transport`.
    let read = unsafe { (*net.cast::<Transport>()).read };
    let (Some(bytes), Ok(length)) = (NonNull::new(buffer.cast::<u8>()), usize::try_from(count)) else {
        // SAFETY: the arguments are the server's own.
        return unsafe { read(plugin, fd, buffer, count) };
    };
    // SAFETY: the server is reading from this connection.
    let plain = NonNull::new(conn).is_some_and(|conn| unsafe { is_plain(conn) });
    let take = |bytes: &mut [u8]| {
        let length = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
        // SAFETY: the arguments are the server's own, but for the place, which
        // is valid for the call.
        let mut read = || unsafe { read(plugin, fd, bytes.as_mut_ptr().cast(), length) };
        if plain { read() } else { socket::read_through(fd, read) }
    };
    // SAFETY: the connection is open, and its session begun; the server's
    // buffer has room for `count` bytes.
    match guard(|| unsafe { read_for_server(conn, fd, bytes, length, take) }) {
        Guarded::Done(result) => result,
        Guarded::Panicked => {
            worker::poison();
            // What was read may be lost: the connection is over.
            0
        }
    }
}

/// # Safety
/// The connection is open, and its session begun. `buffer` has room for `length` bytes.
unsafe fn read_for_server(
    conn: *mut MkSchedConn,
    fd: c_int,
    buffer: NonNull<u8>,
    length: usize,
    take: impl Fn(&mut [u8]) -> c_int,
) -> c_int {
    // SAFETY: by the contract of this function. Bytes of it are only written
    // to, or read behind a write.
    let plain = || take(unsafe { std::slice::from_raw_parts_mut(buffer.as_ptr(), length) });
    let (Some(shared), Some(conn)) = (SHARED.get(), NonNull::new(conn)) else { return plain() };
    if worker::is_poisoned() {
        // What was kept of it is not to be trusted any more.
        let lost = INTAKE.try_with(|intake| intake.try_borrow().is_ok_and(|intake| intake.has_part(fd)));
        return if lost.unwrap_or(true) { 0 } else { plain() };
    }
    // SAFETY: the session stands behind its connection (`mk_http_session_get`).
    let session = unsafe { &*conn.add(1).cast::<MkHttpSession>().as_ptr() };
    INTAKE.with_borrow_mut(|intake| {
        if intake.holds(fd) {
            // A held request never came to its Stage 30. What follows is its
            // body, or worse, which nobody may take for a request.
            intake.release(fd);
            return 0;
        }
        if session.body_length > 0 {
            // A body that the server collects itself; not out of what is kept,
            // where it has no part.
            return if intake.keeps(fd) { nothing_yet() } else { plain() };
        }
        // To look first costs a system call, so only those pay it of whom
        // nothing is known, or that they send more than one request at once.
        let pipelines = || PIPELINES.with_borrow(|fds| !fds.is_empty() && fds.contains(&fd));
        let known = || session.counter_connections > 0 && !pipelines();
        // SAFETY: by the contract of this function.
        let looks = unsafe { is_plain(conn) } && !known();
        let reading = if looks { Reading::Peeked } else { Reading::Taken };
        let passing = if looks { Passing::One } else { Passing::Ordinary };
        let peek = |bytes: &mut [u8]| peek(fd, bytes);
        // SAFETY: by the contract of this function.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.as_ptr(), length) };
        let manner = Manner { reading, passing, keeps: nudge::is_possible() };
        match intake.read(shared, fd, bytes, manner, (peek, &take)) {
            Outcome::Plain(result) => result,
            Outcome::Over(words) => {
                // SAFETY: by the contract of this function.
                if unsafe { is_plain(conn) } {
                    let _ = socket::send(fd, &[IoSlice::new(&words)]);
                }
                0
            }
            Outcome::Held(result) | Outcome::Split(result) => {
                PIPELINES.with_borrow_mut(|fds| fds.insert(fd));
                result
            }
        }
    })
}

/// A request is over, or about to be; the next one may be here already.
///
/// # Safety
/// The connection is open.
pub unsafe fn go_on(conn: NonNull<MkSchedConn>) {
    // SAFETY: by the contract of this function.
    let fd = unsafe { conn.as_ref() }.event.fd;
    if !INTAKE.with_borrow(|intake| intake.keeps(fd)) {
        return;
    }
    // SAFETY: the session stands behind its connection.
    let is_over = unsafe { (*conn.add(1).cast::<MkHttpSession>().as_ptr()).sched_init == 0 };
    // The server knows its clients by their records (`epoll_data_t.ptr`).
    let known_by = conn.as_ptr() as u64;
    if is_over || !NUDGES.with_borrow_mut(|nudges| nudges.nudge(fd, known_by)) {
        // The server has said so; or it would wait for ever.
        socket::shut_down(fd);
    }
}

/// What was read behind the present request: the beginning of the next one.
pub fn take_back(fd: c_int, bytes: Vec<u8>) {
    INTAKE.with_borrow_mut(|intake| intake.take_back(fd, bytes));
}

/// What was held of the request in its Stage 30.
pub fn release(fd: c_int) -> Option<Held> {
    INTAKE.with_borrow_mut(|intake| intake.release(fd))
}

/// The client is gone.
pub fn forget(fd: c_int) {
    INTAKE.with_borrow_mut(|intake| intake.forget(fd));
    PIPELINES.with_borrow_mut(|fds| fds.remove(&fd));
    // Should the server have fetched its event already, it has marked the record
    // as unused by the time it comes to it.
    NUDGES.with_borrow_mut(|nudges| nudges.forget(fd));
}
