//! What becomes of the beginning of a request before a host has read it. A
//! request of ours is held: the host is shown a head without what it would
//! stumble over, and the rest stays with us. Pure: no sockets.

use super::shared::{MatchScratch, Shared, Verdict};
use crate::http::chunked;
use crate::http::path::decoded_path;
use crate::http::presented;
use crate::http::reply;
use crate::http::request;

/// What is to be done with the bytes that came so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// The head is not complete.
    Incomplete,
    /// The host reads them as they are.
    Pass,
    /// So many of them are empty lines in front of a request, which nobody needs.
    Skip(usize),
    /// A request of ours.
    Hold {
        /// Bytes of its head.
        head: usize,
        /// Bytes of its body that are here and certainly belong to it.
        body: usize,
        /// What the host is shown instead of the head.
        shown: Vec<u8>,
    },
    /// Nobody's: it does not ask for a path. Answered with this text, and closed.
    Refuse(Vec<u8>),
    /// Not ours; behind these bytes other requests begin.
    First(usize),
    /// Not ours, and not to be understood in one way only: the host may answer
    /// these bytes of head as it likes, but nothing behind them is a request.
    Last(usize),
}

/// What a host may be given without a closer look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Any number of ordinary requests.
    Ordinary,
    /// One ordinary request: it would lose those behind it.
    One,
    /// Nothing of ours: it has no room for it as it is.
    Others,
}

/// The last words to a client whose head is longer than anybody takes.
pub fn too_long() -> Vec<u8> {
    reply::bare(431)
}

/// Looks at `bytes`, the first that came behind an earlier request.
pub fn look(shared: &Shared, scratch: &mut MatchScratch, bytes: &[u8], passing: Passing) -> Look {
    let skip = presented::empty_lines(bytes);
    if skip > 0 {
        return Look::Skip(skip);
    }
    match presented::ordinary(bytes) {
        Some(1) if passing != Passing::Others => return Look::Pass,
        Some(_) if passing == Passing::Ordinary => return Look::Pass,
        _ => {}
    }
    let Some(head) = presented::tolerant_end(bytes) else { return Look::Incomplete };
    let text = &bytes[..head];
    let mut room = request::storage();
    let request = request::parse(text, &mut room);
    let path = decoded_path(text);
    let ours = matches!(shared.admit(&path, scratch), Verdict::Proxy(_) | Verdict::Statistics(_));
    let behind = bytes.len() - head;
    let body = match &request {
        Err(refusal) if !path.starts_with(b"/") => return Look::Refuse(reply::bare(refusal.status())),
        Err(_) if !ours => return Look::Last(head),
        // Refused: whatever stands behind goes with it.
        Err(_) => behind,
        // Nothing behind it is a request if another reader could see its end elsewhere.
        Ok(request) if request.names_framing() => behind,
        // The first words of another protocol, if it comes to that.
        Ok(request) if ours && request.upgrade.is_some() => behind,
        Ok(request) if request.chunked => chunked::plain_length(&bytes[head..]).unwrap_or(behind),
        Ok(request) => {
            let length = usize::try_from(request.content_length.unwrap_or(0)).unwrap_or(usize::MAX);
            length.min(behind)
        }
    };
    match (ours, body < behind) {
        (true, _) => Look::Hold { head, body, shown: presented::shown(text, &path) },
        (false, false) => Look::Pass,
        (false, true) => Look::First(head + body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::engine::setup;

    fn look_at(text: &str) -> Look {
        let config = b"[PROXY_ENTRY]\n Match ^/app\n ServerList 127.0.0.1:1\n";
        let config = config::from_text(std::path::Path::new("x.conf"), config, &|_| None).unwrap();
        let shared = setup::build(&config, "monkey").unwrap();
        let mut scratch = shared.match_scratch();
        look(&shared, &mut scratch, text.as_bytes(), Passing::One)
    }

    fn held(text: &str) -> (usize, usize) {
        match look_at(text) {
            Look::Hold { head, body, .. } => (head, body),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    const GET: &str = "GET /app HTTP/1.1\r\nHost: h\r\n\r\n";

    #[test]
    fn requests_are_cut_from_their_bodies_and_from_each_other_f16_f50() {
        assert_eq!(look_at(GET), Look::Pass);
        assert_eq!(held(&GET.repeat(3)), (GET.len(), 0));
        let post = "POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(held(post), (post.len(), 0));
        assert_eq!(held(&format!("{post}abc")), (post.len(), 3));
        assert_eq!(held(&format!("{post}abcde{GET}")), (post.len(), 5));
        // As 32 bits this length is 5.
        let huge = "POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 4294967301\r\n\r\n";
        assert_eq!(held(&format!("{huge}abcde{GET}")), (huge.len(), 5 + GET.len()));
        let chunked = "POST /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(held(&format!("{chunked}0\r\n\r\n")), (chunked.len(), 5));
        assert_eq!(look_at(&format!("\r\n{GET}")), Look::Skip(2));
    }

    #[test]
    fn what_follows_the_wish_for_another_protocol_stays_with_it() {
        let wish = "GET /app HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        assert_eq!(held(&format!("{wish}EARLY")), (wish.len(), 5));
    }

    #[test]
    fn what_is_refused_is_ours_whole_and_of_others_the_last_s3_s7() {
        for lines in ["Host: h\r\nContent-Length : 5\r\n", "Host: h\r\n x\r\n", "Host: h\r\nnocolon\r\n", ""]
        {
            let ours = format!("POST /app HTTP/1.1\r\n{lines}\r\n");
            assert_eq!(held(&format!("{ours}{GET}")), (ours.len(), GET.len()));
            let other = format!("POST /other HTTP/1.1\r\n{lines}\r\n");
            assert_eq!(look_at(&format!("{other}{GET}")), Look::Last(other.len()));
        }
        assert_eq!(held("GET /app HTTP/1.1\nHost: h\n\n").0, 27);
    }

    #[test]
    fn what_asks_for_no_path_is_nobodys_f29_f34() {
        for line in [
            "GET  /app HTTP/1.1",
            "GET app HTTP/1.1",
            "GET",
            "GET http://h/app HTTP/1.1",
            "CONNECT h:1 HTTP/1.1",
        ] {
            assert!(matches!(look_at(&format!("{line}\r\nHost: h\r\n\r\n")), Look::Refuse(_)), "{line}");
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let other = "POST /other HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc";
        assert_eq!(look_at(other), Look::Pass);
        assert_eq!(look_at(&format!("{other}de{GET}")), Look::First(other.len() + 2));
        for text in ["POST /app HTTP/1.1\r\nHost: h\r\nContent-Len", ""] {
            assert_eq!(look_at(text), Look::Incomplete, "{text:?}");
        }
    }
}
