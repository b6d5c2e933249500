//! Looks names of backends up, on a thread of its own: a worker never waits
//! for a name server.

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::shared::Shared;

/// How long an answer is good for.
const REFRESH: Duration = Duration::from_secs(30);
/// The first pause behind a failed look-up; it doubles up to [`REFRESH`].
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Starts the thread if some backend has a name. Call it in the process that
/// serves: threads do not survive a fork.
pub fn start(shared: &Arc<Shared>) {
    let named = shared.endpoints.iter().any(|endpoint| endpoint.name().is_some());
    if !named {
        return;
    }
    let shared = Arc::clone(shared);
    let run = move || {
        let mut pause = FIRST_RETRY;
        loop {
            // Every one of them, whatever became of those before.
            let missing = shared.endpoints.iter().filter(|endpoint| !look_up(endpoint)).count();
            let all_found = missing == 0;
            pause = if all_found { REFRESH } else { (pause * 2).min(REFRESH) };
            thread::park_timeout(pause);
        }
    };
    if let Err(error) = thread::Builder::new().name("proxy-resolver".into()).spawn(run) {
        log::error!("names of backends cannot be looked up: no thread: {error}");
    }
}

/// Looks one endpoint up; true if it has an address afterwards. The last good
/// answer is kept when a look-up fails.
fn look_up(endpoint: &Endpoint) -> bool {
    let Some(name) = endpoint.name() else { return true };
    let found = name.to_socket_addrs().map(|mut addresses| addresses.next());
    match found {
        Ok(Some(address)) => {
            if endpoint.set_resolved(address) {
                log::info!("backend {} is at {address}", endpoint.label());
            }
            true
        }
        Ok(None) => {
            log::warn!("backend {}: the name has no address", endpoint.label());
            false
        }
        Err(error) => {
            log::warn!("backend {}: the name cannot be looked up: {error}", endpoint.label());
            false
        }
    }
}
