//! Monkey 1.8 as the engine's [`Host`].
//!
//! During an exchange the server must keep its hands off the client. Its own
//! response goes into a stream that was taken out of the channel; and the
//! connection's protocol is a copy of the server's with our `cb_read` and
//! `cb_close` in it. All of that is undone before the request is ended.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_long};
use std::io::IoSlice;
use std::ptr::NonNull;

use parking_lot::Mutex;

use super::raw::{
    CAP_SOCK_TLS, CloseFn, EVENT_CONNECTION, MASK_READ, MASK_WRITE, MkHttpRequest, MkHttpSession, MkPlugin,
    MkSchedConn, MkSchedHandler, PluginApi, ReadFn,
};
use super::reads;
use crate::abi::FdMap;
use crate::abi::nudge;
use crate::abi::peers::Peers;
use crate::abi::socket;
use crate::engine::{ClientKey, End, Fate, Host, Pipe, Received, Sent};

/// The host of one worker thread.
pub struct ModernHost {
    /// The server's table of functions; it lives as long as the process.
    pub api: &'static PluginApi,
    plugin: *mut MkPlugin,
    /// Where a transport keeps its plugin.
    network_plugin: usize,
    /// What is in a pipe can go to unencrypted clients as it is.
    pub may_splice: bool,
    /// The clients in service, by the place in their key.
    serving: RefCell<Vec<Option<Serving>>>,
    /// Whose client is behind a descriptor.
    by_fd: RefCell<FdMap<ClientKey>>,
    /// What stays the same for the life of a connection.
    pub peers: RefCell<Peers>,
    /// The server's protocols that we met, each with our copy.
    protocols: RefCell<Vec<Protocol>>,
    /// The client whose Stage 30 is being run: it must not be ended in there.
    pub in_stage: Cell<Option<ClientKey>>,
    /// Exchanges that ended inside their Stage 30.
    later: RefCell<Vec<(Serving, End)>>,
    /// Requests taken so far; tells whether ending one has begun another.
    pub taken: Cell<u64>,
}

/// A client in service. The pointers are good until the request is ended or
/// the server tells that the client is gone.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// The engine's name for it.
    pub key: ClientKey,
    /// The session.
    pub session: NonNull<MkHttpSession>,
    /// The request.
    pub request: NonNull<MkHttpRequest>,
    /// The connection.
    pub conn: NonNull<MkSchedConn>,
    /// The client's socket.
    pub fd: c_int,
    /// The socket carries plain bytes.
    pub plain: bool,
    /// The server does not watch the socket for the time being.
    pub asleep: bool,
    /// The length of the piece that the transport refused last; 0 if it took all.
    pub refused: usize,
}

struct Protocol {
    original: *const MkSchedHandler,
    ours: &'static MkSchedHandler,
}

impl ModernHost {
    /// The host of the calling worker thread.
    pub fn new(api: &'static PluginApi, plugin: *mut MkPlugin, network_plugin: usize) -> Self {
        ModernHost {
            api,
            plugin,
            network_plugin,
            may_splice: socket::may_splice(),
            serving: RefCell::default(),
            by_fd: RefCell::default(),
            peers: RefCell::default(),
            protocols: RefCell::default(),
            in_stage: Cell::new(None),
            later: RefCell::default(),
            taken: Cell::new(0),
        }
    }

    /// Begins to serve: takes the connection out of the server's hands.
    ///
    /// # Safety
    /// The pointers of `serving` are good.
    pub unsafe fn take(&self, serving: Serving, read: ReadFn, close: CloseFn) {
        // SAFETY: by the contract of this function.
        let conn = unsafe { &mut *serving.conn.as_ptr() };
        let original = conn.protocol;
        let mut protocols = self.protocols.borrow_mut();
        conn.protocol = match protocols.iter().find(|protocol| protocol.original == original) {
            Some(protocol) => protocol.ours,
            None => {
                // SAFETY: a protocol of the server is static.
                let copy = unsafe { *original };
                let ours = keep(MkSchedHandler { cb_read: Some(read), cb_close: Some(close), ..copy });
                protocols.push(Protocol { original, ours });
                ours
            }
        };
        drop(protocols);
        // A file in front of this request in a pipeline may have left the
        // interest in writing; the server would end this request for it.
        if conn.event.mask & MASK_WRITE != 0 {
            // SAFETY: by the contract of this function.
            unsafe { self.watch(serving, MASK_READ) };
        }
        put(&mut self.serving.borrow_mut(), serving.key.index(), Some(serving));
        self.by_fd.borrow_mut().insert(serving.fd, serving.key);
        self.taken.set(self.taken.get() + 1);
    }

    /// The client in service behind a connection.
    ///
    /// # Safety
    /// The connection is open.
    pub unsafe fn of_connection(&self, conn: NonNull<MkSchedConn>) -> Option<Serving> {
        // SAFETY: by the contract of this function.
        let fd = unsafe { conn.as_ref() }.event.fd;
        let key = *self.by_fd.borrow().get(&fd)?;
        self.serving(key).filter(|serving| serving.conn == conn)
    }

    /// The server's own protocol of a connection whose protocol is ours.
    ///
    /// # Safety
    /// The connection is open.
    pub unsafe fn original(&self, conn: NonNull<MkSchedConn>) -> *const MkSchedHandler {
        // SAFETY: by the contract of this function.
        let present = unsafe { conn.as_ref() }.protocol;
        let protocols = self.protocols.borrow();
        let known = protocols.iter().find(|protocol| std::ptr::eq(protocol.ours, present));
        known.map_or(present, |protocol| protocol.original)
    }

    /// Stops serving a client that the server is about to drop, or has just
    /// taken back: forgets it and gives the connection its protocol again.
    ///
    /// # Safety
    /// The connection is open.
    pub unsafe fn forget(&self, conn: NonNull<MkSchedConn>) -> Option<ClientKey> {
        // SAFETY: by the contract of this function.
        let found = unsafe { self.of_connection(conn) };
        // SAFETY: as above.
        let original = unsafe { self.original(conn) };
        // SAFETY: as above.
        unsafe { (*conn.as_ptr()).protocol = original };
        self.later.borrow_mut().retain(|(serving, _)| serving.conn != conn);
        let serving = found?;
        // SAFETY: a client in service has its request still.
        unsafe { (*serving.request.as_ptr()).handler_data = std::ptr::null_mut() };
        self.clear(serving);
        Some(serving.key)
    }

    /// Takes the server's interest in a client away, until the request is ended.
    ///
    /// # Safety
    /// The client is in service.
    pub unsafe fn sleep(&self, serving: Serving) {
        // SAFETY: called on the worker thread that owns the connection.
        unsafe {
            let _ = (self.api.ev_del)((self.api.sched_loop)(), &raw mut (*serving.conn.as_ptr()).event);
        }
        self.update(serving.key, |serving| serving.asleep = true);
    }

    /// Ends what ended inside its own Stage 30.
    pub fn finish_later(&self) {
        loop {
            let Some((serving, end)) = self.later.borrow_mut().pop() else { return };
            self.finish(serving, end);
        }
    }

    /// Whether a connection waits for [`ModernHost::finish_later`].
    pub fn ends_soon(&self, conn: NonNull<MkSchedConn>) -> bool {
        self.later.borrow().iter().any(|(serving, _)| serving.conn == conn)
    }

    /// Forgets a client whose request the server frees.
    pub fn drop_client(&self, key: ClientKey) {
        self.later.borrow_mut().retain(|(serving, _)| serving.key != key);
        if let Some(serving) = self.serving(key) {
            self.clear(serving);
        }
    }

    /// Whether something waits for [`ModernHost::finish_later`].
    pub fn has_later(&self) -> bool {
        !self.later.borrow().is_empty()
    }

    /// The descriptors of all clients in service.
    pub fn in_service(&self) -> Vec<c_int> {
        let serving = self.serving.borrow();
        let later = self.later.borrow();
        serving.iter().flatten().chain(later.iter().map(|(serving, _)| serving)).map(|s| s.fd).collect()
    }

    fn serving(&self, key: ClientKey) -> Option<Serving> {
        let found = *self.serving.borrow().get(key.index())?;
        found.filter(|serving| serving.key == key)
    }

    fn update(&self, key: ClientKey, change: impl FnOnce(&mut Serving)) {
        let mut table = self.serving.borrow_mut();
        if let Some(Some(serving)) = table.get_mut(key.index())
            && serving.key == key
        {
            change(serving);
        }
    }

    fn clear(&self, serving: Serving) {
        put(&mut self.serving.borrow_mut(), serving.key.index(), None);
        self.by_fd.borrow_mut().remove(&serving.fd);
    }

    /// Gives the connection back and ends the request. May come back to us.
    fn finish(&self, serving: Serving, end: End) {
        let close = end.fate != Fate::KeepAlive;
        // SAFETY: the client is in service, or was until just now: the server
        // has told nothing else.
        unsafe {
            let conn = serving.conn.as_ptr();
            (*conn).protocol = self.original(serving.conn);
            let request = serving.request.as_ptr();
            (*request).handler_data = std::ptr::null_mut();
            (*request).headers.status = c_int::from(end.status);
            (*request).headers.content_length = c_long::try_from(end.body_bytes).unwrap_or(c_long::MAX);
            if close {
                // The server's first question at the end; the buffer, which may
                // hold a rest that is no request, is not looked at then.
                (*serving.session.as_ptr()).counter_connections = c_int::MAX;
            } else {
                // Else a connection that is in use would be closed between two
                // requests, once it is as old as `Timeout`.
                #[allow(clippy::useless_conversion, reason = "not where a server's time is longer than ours")]
                let now = libc::time(std::ptr::null_mut()).into();
                (*conn).arrive_time = now;
                if serving.asleep {
                    self.watch(serving, MASK_READ);
                }
            }
        }
        if end.fate == Fate::Abort {
            socket::abort(serving.fd, serving.plain);
        }
        let taken = self.taken.get();
        // SAFETY: called on the worker thread that owns the session.
        let result =
            unsafe { (self.api.http_request_end)(self.plugin, serving.session.as_ptr(), c_int::from(close)) };
        // The next request of a pipeline was run inside the call. If it was not
        // one of ours, its answer waits in the channel for somebody to flush it.
        if result == 1 && self.taken.get() == taken {
            // SAFETY: the connection is open: it carries another request.
            unsafe {
                if serving.session.as_ref().sched_init == 0 {
                    // An error page has ended the session, but not the connection.
                    self.watch(serving, MASK_READ);
                    socket::shut_down(serving.fd);
                } else {
                    self.watch(serving, MASK_WRITE);
                }
            }
        }
    }

    /// # Safety
    /// The connection is open.
    unsafe fn watch(&self, serving: Serving, mask: u32) {
        // SAFETY: called on the worker thread that owns the connection, whose
        // event is its first member.
        let _ = unsafe {
            (self.api.ev_add)(
                (self.api.sched_loop)(),
                serving.fd,
                EVENT_CONNECTION,
                mask,
                serving.conn.as_ptr().cast(),
            )
        };
    }

    /// # Safety
    /// The connection is open.
    unsafe fn transport(&self, conn: NonNull<MkSchedConn>) -> *mut MkPlugin {
        // SAFETY: by the contract of this function; the member's place belongs
        // to the version that was recognised.
        unsafe {
            let net = conn.as_ref().net.cast::<c_char>();
            *net.byte_add(self.network_plugin).cast::<*mut MkPlugin>()
        }
    }
}

impl Host for ModernHost {
    fn send(&self, client: ClientKey, bytes: &[IoSlice<'_>]) -> Sent {
        let Some(serving) = self.serving(client) else { return Sent::Gone };
        if serving.plain {
            return socket::outcome(socket::send(serving.fd, bytes));
        }
        // SAFETY: the client is in service.
        let (net, plugin) = unsafe { (&*serving.conn.as_ref().net, self.transport(serving.conn)) };
        let refused = Cell::new(serving.refused);
        // SAFETY: the slice is valid for the call; the connection is open.
        let write =
            |piece: &[u8]| unsafe { (net.write)(plugin, serving.fd, piece.as_ptr().cast(), piece.len()) };
        let result = socket::send_through(serving.fd, bytes, &refused, write);
        self.update(serving.key, |serving| serving.refused = refused.get());
        socket::outcome(result)
    }

    fn splice(&self, client: ClientKey, from: &Pipe, bytes: usize) -> Sent {
        self.serving(client).map_or(Sent::Gone, |serving| socket::splice(serving.fd, from, bytes))
    }

    fn room(&self, client: ClientKey) -> usize {
        self.serving(client).filter(|serving| serving.plain).map_or(0, |serving| socket::room(serving.fd))
    }

    fn receive(&self, client: ClientKey, buffer: &mut [u8]) -> Received {
        let Some(serving) = self.serving(client) else { return Received::Gone };
        if serving.plain {
            return socket::receive(serving.fd, buffer);
        }
        // SAFETY: the client is in service.
        let (read, plugin) =
            unsafe { (reads::server_read(serving.conn.as_ref().net), self.transport(serving.conn)) };
        let length = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
        // SAFETY: the buffer is valid for the call; the connection is open.
        let n = socket::read_through(serving.fd, || unsafe {
            read(plugin, serving.fd, buffer.as_mut_ptr().cast(), length)
        });
        socket::arrived_in(buffer.len(), n)
    }

    fn acknowledge(&self, client: ClientKey) {
        if let Some(serving) = self.serving(client) {
            socket::acknowledge(serving.fd);
        }
    }

    fn takes_back(&self, _client: ClientKey) -> bool {
        nudge::is_possible()
    }

    fn take_back(&self, client: ClientKey, bytes: Vec<u8>) {
        if let Some(serving) = self.serving(client) {
            reads::take_back(serving.fd, bytes);
        }
    }

    fn finish_sending(&self, client: ClientKey) -> bool {
        let Some(serving) = self.serving(client) else { return false };
        if serving.plain {
            socket::finish_sending(serving.fd);
        }
        serving.plain
    }

    fn end(&self, client: ClientKey, end: End) {
        let Some(serving) = self.serving(client) else { return };
        self.clear(serving);
        if self.in_stage.get() == Some(client) {
            // The server goes on with the request when Stage 30 returns.
            self.later.borrow_mut().push((serving, end));
        } else {
            self.finish(serving, end);
        }
    }
}

/// Whether a client sends plain bytes, by the `Listen` line that it came in by.
///
/// # Safety
/// The connection is open.
pub unsafe fn is_plain(conn: NonNull<MkSchedConn>) -> bool {
    // SAFETY: by the contract of this function; both structures live as long
    // as the server listens.
    unsafe {
        let listener = conn.as_ref().server_listen;
        !listener.is_null()
            && !(*listener).listen.is_null()
            && (*(*listener).listen).flags & CAP_SOCK_TLS == 0
    }
}

/// Keeps a value for as long as the process runs, since the server may: its
/// threads may end before it lets go.
pub fn keep<T: 'static>(value: T) -> &'static mut T {
    /// What is kept; never read.
    static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());
    let kept = Box::leak(Box::new(value));
    KEPT.lock().push(Kept(std::ptr::from_mut(kept).cast()));
    kept
}

/// Holds on to something without ever looking at it.
struct Kept(#[expect(dead_code, reason = "so that it stays reachable")] *const c_char);

// SAFETY: nobody reads through the pointer.
unsafe impl Send for Kept {}

fn put<T>(table: &mut Vec<Option<T>>, index: usize, value: Option<T>) {
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    table[index] = value;
}
