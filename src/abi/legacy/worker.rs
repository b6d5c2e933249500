//! The calls of one worker thread, with the engine behind them.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_int;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;

use super::clients::{Seat, Serving};
use super::host::LegacyHost;
use super::raw::{
    ClientSession, LEVEL_TRIGGERED, MODE_READ, MODE_SLEEP, Plugin, RET_CLOSE_CONX, RET_CONTINUE, RET_END,
    RET_NOT_ME, SessionRequest,
};
use super::{API, reads, request};
use crate::abi::bridge::SHARED;
use crate::abi::clock;
use crate::abi::guard::guard;
use crate::abi::nudge;
use crate::abi::peers::Peer;
use crate::abi::socket::abort;
use crate::engine::{Fate, RequestParts, Seldom, Shared, Verdict, Worker, decoded_path, drive};

/// What keeps workers from starting.
static LACKS: Seldom = Seldom::new();

/// The engine and the host of one thread.
struct Thread {
    worker: RefCell<Worker>,
    host: LegacyHost,
}

thread_local! {
    static THREAD: OnceCell<Thread> = const { OnceCell::new() };
    /// The descriptor of the worker's poll; -1 before the first request.
    static POLL_FD: Cell<RawFd> = const { Cell::new(-1) };
    /// A panic has left the worker in a state that is not to be trusted.
    static POISONED: Cell<bool> = const { Cell::new(false) };
}

/// Stage 30.
///
/// # Safety
/// The pointers are those that Monkey passes to Stage 30.
pub unsafe fn stage_30(
    plugin: *mut Plugin,
    session: *mut ClientSession,
    request: *mut SessionRequest,
) -> c_int {
    let (Some(shared), Some(api)) = (SHARED.get(), API.get()) else { return RET_NOT_ME };
    let (Some(session), Some(request)) = (NonNull::new(session), NonNull::new(request)) else {
        return RET_NOT_ME;
    };
    // SAFETY: by the contract of this function; the view is gone before the request is changed.
    let held = unsafe { reads::release(session, request) };
    // SAFETY: as above.
    let mut view = unsafe { request::view(api.0, session.as_ptr(), request.as_ptr()) };
    let held_path = held.as_ref().map(|held| decoded_path(&held.head));
    if let (Some(held), Some(path)) = (&held, &held_path) {
        view.path = path;
        view.head = &held.head;
        view.behind = &held.behind;
        view.rest_is_ours = true;
        view.awaits = request::AWAITS_NOTHING;
    }
    if POISONED.get() {
        return match shared.admit(view.path, &mut shared.match_scratch()) {
            Verdict::NotMine => RET_NOT_ME,
            // SAFETY: the request is valid during the stage.
            Verdict::Statistics(_) | Verdict::Proxy(_) => unsafe { unavailable(request.as_ptr()) },
        };
    }
    THREAD.with(|thread| {
        let Some(thread) = born(thread, plugin, shared) else {
            return match shared.admit(view.path, &mut shared.match_scratch()) {
                Verdict::NotMine => RET_NOT_ME,
                // SAFETY: the request is valid during the stage.
                Verdict::Statistics(_) | Verdict::Proxy(_) => unsafe { unavailable(request.as_ptr()) },
            };
        };
        let verdict = thread.worker.borrow_mut().admit(view.path);
        if matches!(verdict, Verdict::NotMine) {
            if held.is_some() {
                // Its body is not in the server's hands, nor ours to read.
                // SAFETY: the request is valid during the stage.
                unsafe { (*request.as_ptr()).close_now = 1 };
            }
            return RET_NOT_ME;
        }
        let now = clock::now();
        // Of what was held back Monkey has no more than a head of ours.
        if held.is_none() && matches!(&verdict, Verdict::Proxy(route) if route.is_left_to_host(now)) {
            return RET_NOT_ME;
        }
        // SAFETY: the session is valid during the stage.
        let fd = unsafe { session.as_ref() }.socket;
        let mut peers = thread.host.peers.borrow_mut();
        let connection = match &verdict {
            Verdict::Proxy(route) if route.needs_connection_number() => {
                peers.number(fd, || shared.numbers.take())
            }
            _ => 0,
        };
        let peer = peers.peer(fd, || Peer::of_socket(fd));
        let parts = RequestParts {
            head: view.head,
            behind: view.behind,
            keeps_rest: false,
            rest_is_ours: view.rest_is_ours,
            fd,
            client: peer.text(),
            source: peer.bytes(),
            secure: thread.host.secure,
            may_splice: thread.host.may_splice,
            may_keep_alive: view.may_keep_alive && !shared.ending.is_asked(),
            awaits: view.awaits,
            connection,
        };
        let key = match &verdict {
            Verdict::Proxy(route) if shared.ending.is_refused() => {
                thread.worker.borrow_mut().begin_farewell(route, &parts, now)
            }
            Verdict::Proxy(route) => thread.worker.borrow_mut().begin(route, &parts, now),
            Verdict::Statistics(page) => thread.worker.borrow_mut().begin_statistics(*page, &parts, now),
            Verdict::NotMine => return RET_NOT_ME,
        };
        drop(peers);
        let serving = Serving { key, session, request };
        thread.host.clients.borrow_mut().set(fd, Seat::Serving(serving));
        thread.host.in_stage.set(Some(key));
        thread.host.answered.set(None);
        drive(&thread.worker, &thread.host, now);
        thread.host.in_stage.set(None);
        match thread.host.ended_in_stage.take() {
            Some(end) => {
                thread.host.clients.borrow_mut().set(fd, Seat::Empty);
                if end.fate == Fate::Abort {
                    abort(fd, thread.host.plain);
                }
                thread.host.note_end(serving, end);
                RET_END
            }
            None => {
                // The client sleeps: what it sends stays in the kernel until
                // the answer is out. Left in WRITE mode, Monkey would run this
                // request again and again.
                thread.host.watch(fd, MODE_SLEEP);
                // Should a version before 1.5.6 lose the client meanwhile, its
                // session must not serve the next one (see `event_close`).
                // SAFETY: the request stays valid until it is ended.
                unsafe { (*request.as_ptr()).close_now = 1 };
                RET_CONTINUE
            }
        }
    })
}

/// Stage 50: the client is gone. Always answered with "not mine": other
/// plugins want to know as well.
pub fn client_gone(fd: c_int) -> bool {
    let may_be_reported = reads::forget(fd);
    with_thread(|thread| {
        if may_be_reported {
            expect_ghost(thread, fd);
        }
        let mut clients = thread.host.clients.borrow_mut();
        if let Some(number) = thread.host.peers.borrow_mut().forget(fd)
            && let Some(shared) = SHARED.get()
        {
            shared.numbers.release(number);
        }
        match clients.seat(fd) {
            Seat::Serving(serving) => {
                clients.set(fd, Seat::Dropped);
                drop(clients);
                if !POISONED.get() {
                    // Inside of a drive that is under way the worker is not borrowed either.
                    thread.worker.borrow_mut().client_gone(serving.key, clock::now());
                }
            }
            Seat::Closing => {
                clients.set(fd, Seat::Dropped);
            }
            Seat::Empty | Seat::Dropped => {}
        }
    });
    false
}

/// Whether Stage 40 is run for a request that we have answered. True once: the
/// next request may stand at the same place.
pub fn answered_by_us(request: NonNull<SessionRequest>) -> bool {
    with_thread(|thread| thread.host.answered.take() == Some(request)).unwrap_or(false)
}

/// A descriptor is readable; true if it is ours.
pub fn event_read(fd: c_int) -> bool {
    if fd == POLL_FD.get() {
        with_thread(|thread| {
            let now = clock::now();
            thread.worker.borrow_mut().turn(now);
            drive(&thread.worker, &thread.host, now);
        });
        return true;
    }
    client_event(fd) || reads::is_out_of_turn(fd)
}

/// A descriptor is writable; true if it is ours.
pub fn event_write(fd: c_int) -> bool {
    client_event(fd)
}

/// An event of a client; true if it is one of ours. A connection that is to be
/// closed is closed here: no event of the same batch can be stale then.
fn client_event(fd: c_int) -> bool {
    with_thread(|thread| {
        let seat = thread.host.clients.borrow().seat(fd);
        match seat {
            Seat::Closing => {
                thread.host.clients.borrow_mut().set(fd, Seat::Empty);
                thread.host.end_request(fd);
                true
            }
            Seat::Serving(_) => {
                thread.host.watch(fd, MODE_SLEEP);
                true
            }
            Seat::Empty | Seat::Dropped => false,
        }
    })
    .unwrap_or(false)
}

/// A socket was closed. Before 1.5.6 Monkey keeps the session of a client that
/// it drops in service, and the next client with the same number would get its
/// answer: ending the request once more frees it. In 1.5.6 it is gone already.
pub fn event_close(fd: c_int) -> bool {
    with_thread(|thread| {
        let seat = thread.host.clients.borrow().seat(fd);
        if matches!(seat, Seat::Dropped) {
            thread.host.clients.borrow_mut().set(fd, Seat::Empty);
            thread.host.end_request(fd);
        }
        if reads::is_ghost(fd) {
            expect_ghost(thread, fd);
        }
    });
    false
}

/// An event of a client that is gone may still be reported in this pass. Monkey asks plugins about
/// it only while it knows the descriptor, and has just forgotten it: without that it would take
/// the number for a new client, and abort when there really is one (`mk_conn_read`,
/// `mk_sched_register_client`). To change what it watches for makes it know the number again,
/// though nothing is watched any more (`mk_epoll_change_mode`).
fn expect_ghost(thread: &Thread, fd: c_int) {
    thread.host.watch(fd, MODE_SLEEP);
}

/// After a panic: nothing of this worker is used any more. Clients in service
/// are cut off, later ones get a 503.
pub fn poison() {
    if POISONED.replace(true) {
        return;
    }
    log::error!("this worker answers 503 to proxied requests from now on; restart the server");
    let _ = guard(|| {
        THREAD.with(|thread| {
            let Some(thread) = thread.get() else { return };
            let poll_fd = POLL_FD.replace(-1);
            // SAFETY: our own descriptor, added by this thread. Nobody would
            // drain it any more, and it would be reported for ever.
            let _ = unsafe { (thread.host.api.event_del)(poll_fd) };
            let fds = thread.host.clients.try_borrow().map(|clients| clients.in_service());
            for fd in fds.unwrap_or_default() {
                // SAFETY: a client in service is open. The kernel reports the
                // hang-up, and Monkey closes it in a later pass.
                let _ = unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
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
fn born<'a>(thread: &'a OnceCell<Thread>, plugin: *mut Plugin, shared: &Arc<Shared>) -> Option<&'a Thread> {
    if let Some(thread) = thread.get() {
        if cfg!(target_pointer_width = "32") && thread.worker.borrow().is_full() {
            if let Some(left_out) = LACKS.say(clock::now().ms) {
                log::error!("a worker has as many clients as its keys can name{left_out}");
            }
            return None;
        }
        return Some(thread);
    }
    let host = LegacyHost::new(API.get()?.0);
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
    // SAFETY: called on a worker thread; the descriptor stays open as long as the thread.
    if unsafe { (host.api.event_add)(fd, MODE_READ, plugin, LEVEL_TRIGGERED) } < 0 {
        if let Some(left_out) = LACKS.say(clock::now().ms) {
            log::error!("a worker cannot start: the server does not watch its poll{left_out}");
        }
        return None;
    }
    POLL_FD.set(fd);
    nudge::prepare(fd);
    Some(thread.get_or_init(|| Thread { worker: RefCell::new(worker), host }))
}

fn with_thread<R>(body: impl FnOnce(&Thread) -> R) -> Option<R> {
    THREAD.with(|thread| thread.get().map(body))
}

/// Lets Monkey answer 503 and close.
///
/// # Safety
/// The request is valid.
unsafe fn unavailable(request: *mut SessionRequest) -> c_int {
    // SAFETY: by the contract of this function. The length keeps the client
    // from waiting: Monkey has no page for this status.
    unsafe {
        (*request).headers.status = 503;
        (*request).headers.content_length = 0;
        (*request).close_now = 1;
    }
    RET_CLOSE_CONX
}
