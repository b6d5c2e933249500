//! The calls of one worker thread, with the engine behind them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::host::{ModernHost, Serving, is_plain, keep};
use super::raw::{
    CloseFn, EVENT_CUSTOM, MASK_READ, MkEvent, MkHttpRequest, MkHttpSession, MkPlugin, MkSchedConn,
    MkSchedWorker, MkServer, ReadFn, STATUS_NONE,
};
use super::{LOADED, reads, request};
use crate::abi::bridge::SHARED;
use crate::abi::clock;
use crate::abi::guard::{Guarded, guard};
use crate::abi::nudge;
use crate::abi::peers::Peer;
use crate::abi::socket;
use crate::engine::{
    ClientKey, RequestParts, Seldom, Shared, Verdict, Worker, decoded_path, drive, last_resort,
};

/// What keeps workers from starting.
static LACKS: Seldom = Seldom::new();

/// The engine and the host of one thread.
struct Thread {
    worker: RefCell<Worker>,
    host: ModernHost,
    /// Room for a request head.
    head: RefCell<Vec<u8>>,
}

thread_local! {
    static THREAD: OnceCell<Thread> = const { OnceCell::new() };
    /// A panic has left the worker in a state that is not to be trusted.
    static POISONED: Cell<bool> = const { Cell::new(false) };
}

/// Stage 30.
///
/// # Safety
/// The pointers are those that Monkey passes to Stage 30.
pub unsafe fn stage_30(plugin: *mut MkPlugin, session: *mut MkHttpSession, request: *mut MkHttpRequest) {
    let (Some(session), Some(request)) = (NonNull::new(session), NonNull::new(request)) else { return };
    // SAFETY: by the contract of this function.
    unsafe { mute(request) };
    THREAD.with(|thread| {
        let shared = SHARED.get();
        match shared.and_then(|shared| Some((shared, born(thread, plugin, shared)?))) {
            // SAFETY: by the contract of this function.
            Some((shared, thread)) => unsafe { take(thread, shared, plugin, session, request) },
            // SAFETY: the session is valid during the stage.
            None => unsafe { cut_off(session.as_ptr()) },
        }
    });
}

/// # Safety
/// The pointers are those that Monkey passes to Stage 30.
unsafe fn take(
    thread: &Thread,
    shared: &Shared,
    plugin: *mut MkPlugin,
    session: NonNull<MkHttpSession>,
    request: NonNull<MkHttpRequest>,
) {
    let now = clock::now();
    let mut head = thread.head.take();
    // SAFETY: the session is valid during the stage, and so is its connection.
    let (fd, conn) = unsafe { (session.as_ref().socket, session.as_ref().conn) };
    let Some(conn) = NonNull::new(conn) else { return };
    // SAFETY: as above.
    let plain = unsafe { is_plain(conn) };
    // SAFETY: by the contract of this function; the server is set at load.
    let view =
        unsafe { request::view(plain, (*plugin).server_ctx, session.as_ptr(), request.as_ptr(), &mut head) };
    let held = reads::release(fd);
    if let Some(held) = &held {
        head.clear();
        head.extend_from_slice(&held.head);
    }
    // SAFETY: the connection is open.
    unsafe { reads::adopt(conn) };
    let path = decoded_path(&head);
    let verdict = thread.worker.borrow_mut().admit(&path);
    let mut peers = thread.host.peers.borrow_mut();
    let connection = match &verdict {
        Verdict::Proxy(route) if route.needs_connection_number() => {
            peers.number(fd, || shared.numbers.take())
        }
        _ => 0,
    };
    let peer = peers.peer(fd, || Peer::of_socket(fd));
    let parts = RequestParts {
        head: &head,
        behind: held.as_ref().map_or(view.behind, |held| &held.behind),
        // What was cut off is in our hands.
        keeps_rest: held.is_none(),
        rest_is_ours: true,
        fd,
        client: peer.text(),
        source: peer.bytes(),
        secure: !plain,
        may_splice: plain && thread.host.may_splice,
        may_keep_alive: view.may_keep_alive && !shared.ending.is_asked(),
        awaits: if held.is_some() { request::AWAITS_NOTHING } else { request::AWAITS },
        connection,
    };
    let key = {
        let mut worker = thread.worker.borrow_mut();
        match &verdict {
            Verdict::Proxy(route) if shared.ending.is_refused() => worker.begin_farewell(route, &parts, now),
            Verdict::Proxy(route) => worker.begin(route, &parts, now),
            Verdict::Statistics(page) => worker.begin_statistics(*page, &parts, now),
            Verdict::NotMine => {
                complain(&path);
                worker.begin_error(&parts, 404, "no Match of the proxy takes this path", now)
            }
        }
    };
    drop(peers);
    drop(path);
    thread.head.replace(head);
    // SAFETY: the request is valid until it is ended.
    unsafe { (*request.as_ptr()).handler_data = mark(key) };
    let serving = Serving { key, session, request, conn, fd, plain, asleep: false, refused: 0 };
    // SAFETY: the pointers are good until the request is ended.
    unsafe { thread.host.take(serving, cb_read, cb_close) };
    // Stages nest: ending a request may run the next one's.
    let outer = thread.host.in_stage.replace(Some(key));
    drive(&thread.worker, &thread.host, now);
    thread.host.in_stage.set(outer);
    if thread.host.has_later() {
        thread.worker.borrow().wake();
    }
}

/// A connection that we took is gone: the request's mark tells which.
///
/// # Safety
/// The request is valid during the call.
pub unsafe fn hung_up(request: *mut MkHttpRequest) {
    // SAFETY: by the contract of this function.
    let mark = unsafe { std::mem::replace(&mut (*request).handler_data, std::ptr::null_mut()) };
    let Some(key) = key_of(mark) else { return };
    with_thread(|thread| {
        thread.host.drop_client(key);
        thread.worker.borrow_mut().client_gone(key, clock::now());
    });
}

/// Stage 50.
pub fn closed(fd: c_int) {
    reads::forget(fd);
    with_thread(|thread| {
        if let Some(number) = thread.host.peers.borrow_mut().forget(fd)
            && let Some(shared) = SHARED.get()
        {
            shared.numbers.release(number);
        }
    });
}

/// Tells the client what is the matter, if it is to be told in plain bytes, and
/// lets the kernel tell the server.
///
/// # Safety
/// The session is valid.
pub unsafe fn cut_off(session: *mut MkHttpSession) {
    if session.is_null() {
        return;
    }
    // SAFETY: by the contract of this function.
    let (fd, conn) = unsafe { ((*session).socket, (*session).conn) };
    // SAFETY: as above.
    if NonNull::new(conn).is_some_and(|conn| unsafe { is_plain(conn) }) {
        let text = last_resort(clock::now());
        let _ = socket::send(fd, &[std::io::IoSlice::new(&text)]);
    }
    socket::shut_down(fd);
}

/// After a panic: nothing of this worker is used any more. Clients in service
/// are cut off, and so are later ones, with a 503.
pub fn poison() {
    if POISONED.replace(true) {
        return;
    }
    log::error!("this worker answers 503 to proxied requests from now on; restart the server");
    let _ = guard(|| {
        THREAD.with(|thread| {
            let Some(thread) = thread.get() else { return };
            for fd in thread.host.in_service() {
                // Its events still reach `cb_read`, which gives it back to the server.
                socket::shut_down(fd);
            }
            if let Ok(mut worker) = thread.worker.try_borrow_mut() {
                worker.clear();
            }
        });
    });
}

/// Whether a panic has ended what this worker does for us.
pub fn is_poisoned() -> bool {
    POISONED.get()
}

/// The engine of this thread, made at its first request.
fn born<'a>(thread: &'a OnceCell<Thread>, plugin: *mut MkPlugin, shared: &Arc<Shared>) -> Option<&'a Thread> {
    if POISONED.get() {
        return None;
    }
    if let Some(thread) = thread.get() {
        if cfg!(target_pointer_width = "32") && thread.worker.borrow().is_full() {
            if let Some(left_out) = LACKS.say(clock::now().ms) {
                log::error!("a worker has as many clients as its keys can name{left_out}");
            }
            return None;
        }
        return Some(thread);
    }
    let loaded = LOADED.get()?;
    let worker = match Worker::new(Arc::clone(shared)) {
        Ok(worker) => worker,
        Err(error) => {
            // Each request tries again.
            if let Some(left_out) = LACKS.say(clock::now().ms) {
                log::error!("a worker cannot start: {error}{left_out}");
            }
            return None;
        }
    };
    let fd = worker.poll_fd();
    // SAFETY: all-zero is a valid event; the server looks at its links.
    let mut event: MkEvent = unsafe { std::mem::zeroed() };
    event.fd = fd;
    event.kind = EVENT_CUSTOM;
    event.status = STATUS_NONE;
    event.handler = Some(on_poll);
    let event = keep(event);
    let api = loaded.api;
    // SAFETY: called on a worker thread; descriptor and event stay.
    let added = unsafe {
        (api.ev_add)((api.sched_loop)(), fd, EVENT_CUSTOM, MASK_READ, std::ptr::from_mut(event).cast())
    };
    if added != 0 {
        if let Some(left_out) = LACKS.say(clock::now().ms) {
            log::error!("a worker cannot start: the server does not watch its poll{left_out}");
        }
        return None;
    }
    nudge::prepare(fd);
    let host = ModernHost::new(api, plugin, loaded.network_plugin);
    Some(thread.get_or_init(|| Thread { worker: RefCell::new(worker), host, head: RefCell::default() }))
}

/// The worker's own poll has something to tell.
unsafe extern "C" fn on_poll(event: *mut c_void) -> c_int {
    let turned = guard(|| {
        with_thread(|thread| {
            let now = clock::now();
            thread.worker.borrow_mut().turn(now);
            thread.host.finish_later();
            drive(&thread.worker, &thread.host, now);
        })
    });
    if turned == Guarded::Panicked {
        poison();
    }
    if POISONED.get()
        && let Some(loaded) = LOADED.get()
    {
        // Nobody drains the poll any more; it would be reported for ever.
        // SAFETY: our own event, registered by this thread.
        let _ = unsafe { (loaded.api.ev_del)((loaded.api.sched_loop)(), event.cast()) };
    }
    0
}

/// Something came from a client in service: early bytes, its FIN or a reset.
unsafe extern "C" fn cb_read(
    conn: *mut MkSchedConn,
    worker: *mut MkSchedWorker,
    server: *mut MkServer,
) -> c_int {
    let Some(conn) = NonNull::new(conn) else { return -1 };
    // SAFETY: the server reads from an open connection.
    match guard(|| unsafe { early(conn) }) {
        Guarded::Done(Early::Quiet) => 1,
        Guarded::Done(Early::Gone) => {
            // The server looks at errno to tell "nothing yet" from "broken".
            // SAFETY: errno of this thread.
            unsafe { *libc::__errno_location() = 0 };
            -1
        }
        // Not ours any more: what the server would have done.
        Guarded::Done(Early::NotOurs) => {
            // SAFETY: the connection has its own protocol again.
            match unsafe { (*conn.as_ref().protocol).cb_read } {
                Some(read) if !std::ptr::fn_addr_eq(read, cb_read as ReadFn) => {
                    // SAFETY: the arguments are the server's own.
                    unsafe { read(conn.as_ptr(), worker, server) }
                }
                _ => -1,
            }
        }
        Guarded::Panicked => {
            poison();
            -1
        }
    }
}

/// What a readable client in service turned out to be.
enum Early {
    /// Nothing to be done by the server.
    Quiet,
    /// The connection broke.
    Gone,
    /// It is not in service.
    NotOurs,
}

/// # Safety
/// The connection is open.
unsafe fn early(conn: NonNull<MkSchedConn>) -> Early {
    let result = THREAD.with(|thread| {
        let thread = thread.get()?;
        if POISONED.get() {
            // SAFETY: by the contract of this function.
            unsafe { thread.host.forget(conn) };
            return Some(Early::Gone);
        }
        // SAFETY: by the contract of this function.
        let Some(serving) = (unsafe { thread.host.of_connection(conn) }) else {
            if thread.host.ends_soon(conn) {
                return Some(Early::Quiet);
            }
            // SAFETY: as above.
            unsafe { thread.host.forget(conn) };
            return Some(Early::NotOurs);
        };
        let mut byte = [0u8; 1];
        // SAFETY: the socket of an open connection.
        let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(serving.fd) };
        match recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            // An early request, or the client's FIN, stays in the kernel until
            // this exchange is over; should it last, the late watch sees both.
            // SAFETY: the client is in service.
            Ok(_) => unsafe { thread.host.sleep(serving) },
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                // SAFETY: the connection is open still.
                unsafe { thread.host.forget(conn) };
                thread.worker.borrow_mut().client_gone(serving.key, clock::now());
                return Some(Early::Gone);
            }
        }
        Some(Early::Quiet)
    });
    result.unwrap_or(Early::NotOurs)
}

/// The server closes the connection of a client in service.
unsafe extern "C" fn cb_close(
    conn: *mut MkSchedConn,
    worker: *mut MkSchedWorker,
    kind: c_int,
    server: *mut MkServer,
) -> c_int {
    let Some(connection) = NonNull::new(conn) else { return -1 };
    let closed = guard(|| {
        THREAD.with(|thread| {
            let Some(thread) = thread.get() else { return };
            // SAFETY: the server closes an open connection.
            if let Some(key) = unsafe { thread.host.forget(connection) }
                && !POISONED.get()
            {
                thread.worker.borrow_mut().client_gone(key, clock::now());
            }
        });
    });
    if closed == Guarded::Panicked {
        poison();
    }
    // SAFETY: the connection has the server's protocol again; the arguments
    // are the server's own.
    unsafe {
        match (*connection.as_ref().protocol).cb_close {
            Some(close) if !std::ptr::fn_addr_eq(close, cb_close as CloseFn) => {
                close(conn, worker, kind, server)
            }
            _ => 0,
        }
    }
}

/// Takes the response stream out of its channel: the head that the server
/// prepares behind Stage 30 goes nowhere. The status must be one it knows.
///
/// # Safety
/// The request is valid.
unsafe fn mute(request: NonNull<MkHttpRequest>) {
    // SAFETY: by the contract of this function; a list's links are never null.
    unsafe {
        let request = request.as_ptr();
        (*request).headers.status = 200;
        let link = &raw mut (*request).stream.head;
        let (prev, next) = ((*link).prev, (*link).next);
        (*prev).next = next;
        (*next).prev = prev;
        (*link).prev = link;
        (*link).next = link;
    }
}

/// Says once for each path pattern of the host that nothing here matches it.
fn complain(path: &[u8]) {
    /// Enough to see what is wrong; not enough to fill a log.
    const MOST: usize = 20;
    static TOLD: Mutex<Option<HashSet<Vec<u8>>>> = Mutex::new(None);
    let folder = path.iter().skip(1).position(|&b| b == b'/').map_or(path, |end| &path[..end + 2]);
    let mut told = TOLD.lock();
    let told = told.get_or_insert_default();
    if told.len() < MOST && told.insert(folder.to_vec()) {
        log::warn!(
            "[HANDLERS] sends {} here, but no Match takes it: answered with 404. Narrow the Match of [HANDLERS], \
             or add one to a [PROXY_ENTRY]",
            String::from_utf8_lossy(path)
        );
    }
}

/// A key in the place of a pointer; never null.
fn mark(key: ClientKey) -> *mut c_void {
    std::ptr::without_provenance_mut(key.to_bits() + 1)
}

fn key_of(mark: *mut c_void) -> Option<ClientKey> {
    let bits = (mark as usize).checked_sub(1)?;
    Some(ClientKey::from_bits(bits))
}

fn with_thread<R>(body: impl FnOnce(&Thread) -> R) -> Option<R> {
    if POISONED.get() {
        return None;
    }
    THREAD.with(|thread| thread.get().map(body))
}
