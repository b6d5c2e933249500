//! Where the beginning of what a client sends is cut, so that a host reads the
//! head of one request and leaves the rest to us. Pure: no sockets.

use super::shared::{MatchScratch, Shared, Verdict};
use crate::http::path::decoded_path;
use crate::http::request;

/// How a request of ours is to be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of its head.
    pub head: usize,
    /// Bytes of its body that are here and certainly belong to it.
    pub body: usize,
    /// The request has a body, here or to come.
    pub has_body: bool,
}

/// Looks at `bytes`, the first that came behind an earlier request: `None`
/// when the host is to read them as they are. That is an ordinary request
/// without a body and with nothing behind it, one that no route takes, and
/// whatever is not to be understood.
pub fn cut(shared: &Shared, scratch: &mut MatchScratch, bytes: &[u8]) -> Option<Cut> {
    let head = request::head_end(bytes)?;
    let alone = head == bytes.len();
    // By far the most requests; with a body they are cut when that is here.
    if alone && matches!(bytes.first(), Some(b'G' | b'H')) {
        return None;
    }
    if !matches!(shared.admit(&decoded_path(&bytes[..head]), scratch), Verdict::Proxy(_)) {
        return None;
    }
    let mut room = request::storage();
    let request = request::parse(&bytes[..head], &mut room).ok()?;
    let length = request.content_length.unwrap_or(0);
    let has_body = request.chunked || length > 0;
    if alone && !has_body {
        return None;
    }
    let behind = bytes.len() - head;
    let body = match request.chunked {
        true => behind,
        false => usize::try_from(length).unwrap_or(usize::MAX).min(behind),
    };
    Some(Cut { head, body, has_body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::engine::setup;

    fn cut_of(text: &str) -> Option<(usize, usize, bool)> {
        let config = "[PROXY_ENTRY]\n Match ^/app\n ServerList 127.0.0.1:1\n";
        let config = config::from_text(std::path::Path::new("x.conf"), config.as_bytes(), &|_| None).unwrap();
        let shared = setup::build(&config, "monkey").unwrap();
        let mut scratch = shared.match_scratch();
        cut(&shared, &mut scratch, text.as_bytes()).map(|cut| (cut.head, cut.body, cut.has_body))
    }

    #[test]
    fn requests_are_cut_from_their_bodies_and_from_each_other_f16_f50() {
        let get = "GET /app HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(cut_of(get), None);
        assert_eq!(cut_of(&get.repeat(3)), Some((get.len(), 0, false)));
        let post = "POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(cut_of(post), Some((post.len(), 0, true)));
        assert_eq!(cut_of(&format!("{post}abc")), Some((post.len(), 3, true)));
        assert_eq!(cut_of(&format!("{post}abcde{get}")), Some((post.len(), 5, true)));
        let chunked = "POST /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(cut_of(&format!("{chunked}0\r\n\r\n")), Some((chunked.len(), 5, true)));
        assert_eq!(cut_of("POST /app HTTP/1.1\r\nHost: h\r\n\r\n"), None);
    }

    #[test]
    fn what_is_not_ours_or_not_understood_is_left_alone() {
        for text in [
            "POST /other HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc",
            "POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nabc",
            "POST /app HTTP/1.1\r\nHost: h\r\nContent-Len",
            "",
        ] {
            assert_eq!(cut_of(text), None, "{text:?}");
        }
    }
}
