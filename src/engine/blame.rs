//! What a route blames its backends for (`FailOn`).

use super::failure::Failure;
use super::shared::Route;
use crate::config::Fault;

impl Route {
    /// Whether this route counts such a failure against a backend.
    pub(super) fn blames_for(&self, failure: &Failure) -> bool {
        fault_of(failure).is_some_and(|fault| self.settings.health.fail_on.contains(&fault))
    }

    /// Whether an answer with this status is a failure of the backend.
    pub(super) fn blames_for_status(&self, status: u16) -> bool {
        let has = |fault: &Fault| matches!(fault, Fault::Status(range) if range.contains(&status));
        self.settings.health.fail_on.iter().any(has)
    }
}

/// What `FailOn` calls it; `None` for what is nobody's failure but ours.
fn fault_of(failure: &Failure) -> Option<Fault> {
    match failure {
        Failure::Local(_) => None,
        Failure::Connect(_) | Failure::ConnectTimeOut => Some(Fault::Connect),
        Failure::SendTimeOut | Failure::HeaderTimeOut | Failure::ReadTimeOut => Some(Fault::Timeout),
        Failure::Reset(_) | Failure::Closed | Failure::ClosedInHead | Failure::Truncated => {
            Some(Fault::Reset)
        }
        Failure::BadResponse(_) | Failure::BadChunk(_) => Some(Fault::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::engine::setup;
    use crate::http::response::BadResponse;
    use std::io;
    use std::path::Path;

    fn blamed(fail_on: &str) -> (String, Vec<u16>) {
        let text = format!("[PROXY_ENTRY]\nMatch x\nServerList a\n{fail_on}\n");
        let config = config::from_text(Path::new("p.conf"), text.as_bytes(), &|_| None).unwrap();
        let shared = setup::build(&config, "monkey-1").unwrap();
        let route = &shared.routes[0];
        let error = || io::Error::from(io::ErrorKind::ConnectionReset);
        let failures = [
            ('l', Failure::Local(error())),
            ('c', Failure::Connect(error())),
            ('C', Failure::ConnectTimeOut),
            ('s', Failure::SendTimeOut),
            ('h', Failure::HeaderTimeOut),
            ('d', Failure::ReadTimeOut),
            ('r', Failure::Reset(error())),
            ('e', Failure::Closed),
            ('E', Failure::ClosedInHead),
            ('t', Failure::Truncated),
            ('i', Failure::BadResponse(BadResponse::Malformed)),
        ];
        let letters =
            failures.iter().filter(|(_, failure)| route.blames_for(failure)).map(|(letter, _)| letter);
        let statuses =
            [200, 404, 429, 500, 503].into_iter().filter(|&status| route.blames_for_status(status));
        (letters.collect(), statuses.collect())
    }

    #[test]
    fn the_route_says_what_counts() {
        assert_eq!(blamed(""), ("cCshdreEti".to_owned(), vec![]));
        assert_eq!(blamed("FailOn connect"), ("cC".to_owned(), vec![]));
        assert_eq!(blamed("FailOn timeout invalid 5xx"), ("shdi".to_owned(), vec![500, 503]));
        assert_eq!(blamed("FailOn reset 429 503"), ("reEt".to_owned(), vec![429, 503]));
    }
}
