//! Makes a server read from a client whose socket is silent, because what it
//! has sent is in our hands already. The server learns of a client by an event
//! of its epoll, which carries what the server knows the client by: a number or
//! a pointer. A descriptor of ours that is always readable is put there with
//! the same, to be reported once; so the server goes its usual way in a pass of
//! its own, with nothing of ours on the stack.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The loop of a worker has one of the numbers below this: it is older than all
/// clients.
const HIGHEST: RawFd = 4096;

thread_local! {
    /// The descriptor of this thread's loop, if it is an epoll.
    static LOOP: Cell<Option<RawFd>> = const { Cell::new(None) };
}

/// Finds the loop of the calling thread: `registered` is watched there, and
/// nowhere else.
pub fn prepare(registered: RawFd) {
    let is_there = |&candidate: &RawFd| {
        // No events, so that a loop where it is not watched reports nothing.
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the event is valid for the calls. A candidate that is no epoll
        // is refused; one that took it gives it back at once.
        unsafe {
            if libc::epoll_ctl(candidate, libc::EPOLL_CTL_ADD, registered, &raw mut event) == 0 {
                libc::epoll_ctl(candidate, libc::EPOLL_CTL_DEL, registered, &raw mut event);
                return false;
            }
            *libc::__errno_location() == libc::EEXIST
        }
    };
    LOOP.set((0..HIGHEST).find(is_there));
}

/// Whether the server of this thread can be nudged.
pub fn is_possible() -> bool {
    LOOP.get().is_some()
}

/// The clients of one worker that were nudged, by descriptor.
#[derive(Debug, Default)]
pub struct Nudges(HashMap<c_int, OwnedFd>);

impl Nudges {
    /// Lets the server read from a client in one of its next passes. False if
    /// that cannot be done.
    pub fn nudge(&mut self, client: c_int, known_by: u64) -> bool {
        let Some(epoll) = LOOP.get() else { return false };
        let event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLONESHOT) as u32, u64: known_by };
        let control = |operation, fd: &OwnedFd| {
            let mut event = event;
            // SAFETY: the event is valid for the call, both descriptors are open.
            unsafe { libc::epoll_ctl(epoll, operation, fd.as_raw_fd(), &raw mut event) == 0 }
        };
        if let Some(fd) = self.0.get(&client) {
            return control(libc::EPOLL_CTL_MOD, fd);
        }
        // SAFETY: a plain system call.
        let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return false;
        }
        // SAFETY: it was opened just now, and nobody else knows of it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let done = control(libc::EPOLL_CTL_ADD, &fd);
        if done {
            self.0.insert(client, fd);
        }
        done
    }

    /// Whether this client was nudged, and not forgotten since.
    pub fn has(&self, client: c_int) -> bool {
        !self.0.is_empty() && self.0.contains_key(&client)
    }

    /// Takes back what is not reported yet. True if a nudge may be among those
    /// events that the server has fetched already.
    pub fn forget(&mut self, client: c_int) -> bool {
        let Some(fd) = (!self.0.is_empty()).then(|| self.0.remove(&client)).flatten() else { return false };
        if let Some(epoll) = LOOP.get() {
            // Not left to the close: a child process may hold the descriptor for a moment.
            // SAFETY: both descriptors are open.
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut()) };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An epoll with something in it, and what it reports.
    fn reported(epoll: &OwnedFd) -> Vec<u64> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        // SAFETY: the array is valid for the call.
        let n = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), 8, 0) };
        events[..usize::try_from(n).unwrap()].iter().map(|event| event.u64).collect()
    }

    fn epoll() -> OwnedFd {
        // SAFETY: a new descriptor.
        unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(0)) }
    }

    #[test]
    fn a_nudge_is_reported_once_by_the_right_loop() {
        let (inner, other, own) = (epoll(), epoll(), epoll());
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 1 };
        // SAFETY: as above.
        unsafe {
            libc::epoll_ctl(own.as_raw_fd(), libc::EPOLL_CTL_ADD, inner.as_raw_fd(), &raw mut event);
        }
        let mut nudges = Nudges::default();
        assert!(!is_possible() && !nudges.nudge(7, 77));
        prepare(inner.as_raw_fd());
        assert!(nudges.nudge(7, 77) && nudges.has(7));
        assert_eq!(reported(&own), [77]);
        assert_eq!(reported(&own), [0; 0]);
        assert!(nudges.nudge(7, 77));
        assert_eq!((reported(&own), reported(&other)), (vec![77], vec![]));
        assert!(nudges.nudge(7, 77) && nudges.forget(7) && !nudges.forget(7));
        assert_eq!(reported(&own), [0; 0]);
    }
}
