//! The statistics page, asked for over a plain connection. HTTP/1.0 is enough: the answer comes
//! as a whole, with a length.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Where the page is.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    authority: String,
    target: String,
}

impl Url {
    /// `http://host[:port]/path`; `http://` may be left out.
    pub fn parse(text: &str) -> Result<Url, String> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(format!(
                    "there is no https here; write 'curl -s \"{text}?format=json\" | mkproxy status --once -'"
                ));
            }
            Some((scheme, _)) => return Err(format!("'{scheme}' is no scheme; write http://host:port/path")),
            None => text,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || path.len() < 2 || !fits(rest) {
            return Err(format!(
                "'{text}' names no page; write http://host:port and the path of StatisticsURL"
            ));
        }
        let others = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("format="));
        let query: Vec<&str> = others.chain(["format=json"]).collect();
        let target = format!("{path}?{}", query.join("&"));
        Ok(Url { authority: authority.to_owned(), target })
    }

    /// The page as JSON, or why there is none.
    pub fn get(&self) -> Result<Vec<u8>, String> {
        self.ask().map_err(|error| plain(&error)).and_then(|answer| body(&answer))
    }

    /// A reason, and what was asked for.
    pub fn named(&self, reason: &str) -> String {
        format!("http://{}{}: {reason}", self.authority, self.target)
    }

    fn ask(&self) -> std::io::Result<Vec<u8>> {
        let has_port = self.authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
        let is_open = self.authority.ends_with(']');
        let address =
            if has_port && !is_open { self.authority.clone() } else { format!("{}:80", self.authority) };
        let mut last = std::io::Error::other("there is no such host");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(connection) => return self.ask_over(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn ask_over(&self, mut connection: TcpStream) -> std::io::Result<Vec<u8>> {
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        let Url { authority, target } = self;
        write!(
            connection,
            "GET {target} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: mkproxy\r\nConnection: close\r\n\r\n"
        )?;
        let mut connection = connection.take(ANSWER_MAX);
        let (mut answer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        // Not up to the end of the connection: Monkey keeps that open behind errors of its own.
        while !is_whole(&answer) {
            match connection.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => answer.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(answer)
    }
}

fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            "no answer in five seconds".to_owned()
        }
        std::io::ErrorKind::ConnectionRefused => "nobody listens there; is Monkey running?".to_owned(),
        _ => error.to_string(),
    }
}

/// What the head of an answer says.
struct Head {
    code: u16,
    /// Bytes of the head itself.
    length: usize,
    /// Bytes of the body.
    body: Option<usize>,
}

/// `Ok(None)` while it is not whole.
fn head(answer: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(answer)? else { return Ok(None) };
    let said = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let body = said.and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
    Ok(Some(Head { code: head.code.unwrap_or_default(), length, body }))
}

/// Whether nothing more of an answer is worth waiting for.
fn is_whole(answer: &[u8]) -> bool {
    match head(answer) {
        Ok(Some(Head { length, body: Some(body), .. })) => answer.len() - length >= body,
        Ok(_) => false,
        Err(_) => true,
    }
}

fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    let Ok(Some(Head { code, length, body: said })) = head(answer) else {
        return Err("the answer is no HTTP; is this Monkey's port?".to_owned());
    };
    match code {
        200 => {}
        403 => return Err("403, this address may not see it; see StatisticsAllow".to_owned()),
        404 => return Err("404, no such page; see StatisticsURL, and 'mkproxy check --conf'".to_owned()),
        code => return Err(format!("the answer is a {code}")),
    }
    let body = &answer[length..];
    match said {
        Some(said) if said > body.len() => Err("the answer breaks off".to_owned()),
        Some(said) => Ok(body[..said].to_vec()),
        None => Ok(body.to_vec()),
    }
}

/// For the connection, and for each piece of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer; thousands of servers have room in it.
const ANSWER_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_completed() {
        for (text, authority, target) in [
            ("http://a:2001/proxy/statistics", "a:2001", "/proxy/statistics?format=json"),
            ("[::1]:80/s?format=html&x=1", "[::1]:80", "/s?x=1&format=json"),
            ("a/s?format=json", "a", "/s?format=json"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.authority.as_str(), url.target.as_str()), (authority, target));
        }
        for bad in ["", "http://a", "http:///x", "a/", "ftp://a/x", "http://a/ x", "http://a/x\r\ny"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        assert!(Url::parse("https://a/s").unwrap_err().contains("curl"));
    }

    #[test]
    fn answers_are_whole_or_refused() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}x").unwrap(), b"{}");
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\n{}").unwrap(), b"{}");
        assert!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}").is_err());
        assert!(body(b"HTTP/1.1 404 No\r\n\r\n").unwrap_err().contains("StatisticsURL"));
        assert!(body(b"SSH-2.0").is_err());
    }

    #[test]
    fn an_answer_of_known_length_was_waited_for_beyond_its_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/s", listener.local_addr().unwrap())).unwrap();
        let (told, ends) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            for part in
                [&b"HTTP/1.1 404 Not Found\r\nConnection: Close\r\nContent-"[..], b"Length: 2\r\n\r\n", b"no"]
            {
                client.write_all(part).unwrap();
            }
            // It stays open until the answer was taken.
            ends.recv().unwrap();
        });
        assert!(url.get().unwrap_err().contains("StatisticsURL"));
        told.send(()).unwrap();
        server.join().unwrap();
    }
}
