//! What is told of single requests, and to whom: the model, and how its values are read.

use std::path::PathBuf;

use super::heads;

/// What is told of single requests. `default()` is what the table in [`keys`](super::keys) says:
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracing {
    /// Whose requests may ask why they went where they went.
    pub explain: Audience,
    /// The file that gets a line for each request.
    pub log: Option<PathBuf>,
    /// What those lines look like.
    pub log_format: LogFormat,
    /// The header that names each request.
    pub request_id: Option<String>,
    /// Whether answers carry `Proxy-Status`.
    pub proxy_status: bool,
}

impl Tracing {
    /// Whether there is nothing to tell.
    pub fn is_off(&self) -> bool {
        *self == Tracing { log_format: self.log_format, ..Tracing::default() }
    }
}

/// Whose requests are explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Nobody's.
    #[default]
    Off,
    /// Those from the machine itself.
    Loopback,
    /// Everybody's.
    Any,
}

impl Audience {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Audience::Off => "off",
            Audience::Loopback => "loopback",
            Audience::Any => "any",
        }
    }
}

impl LogFormat {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value`, separated by blanks.
    #[default]
    Text,
    /// An object.
    Json,
}

/// `off`, `loopback` or `any`.
pub(super) fn audience(text: &str) -> Option<Audience> {
    let all = [Audience::Off, Audience::Loopback, Audience::Any];
    all.into_iter().find(|audience| audience.name().eq_ignore_ascii_case(text))
}

/// `off`, or an absolute path: Monkey changes its folder when it becomes a daemon.
pub(super) fn log_file(text: &str) -> Option<Option<PathBuf>> {
    match text {
        off if off.eq_ignore_ascii_case("off") => Some(None),
        path if path.starts_with('/') && !path.ends_with('/') && !path.contains('\0') => {
            Some(Some(PathBuf::from(path)))
        }
        _ => None,
    }
}

/// `text` or `json`.
pub(super) fn log_format(text: &str) -> Option<LogFormat> {
    [LogFormat::Text, LogFormat::Json].into_iter().find(|format| format.name().eq_ignore_ascii_case(text))
}

/// `off`, or the name of a header that is not the gateway's own business.
pub(super) fn request_id(text: &str) -> Option<Option<String>> {
    match text {
        off if off.eq_ignore_ascii_case("off") => Some(None),
        name => {
            let sides = [heads::Side::Request, heads::Side::Response];
            let is_free = sides.into_iter().all(|side| heads::header_name(name, side).is_ok());
            let spelling = name.to_ascii_lowercase();
            let is_taken = TAKEN.contains(&spelling.as_str()) || spelling.starts_with("x-forwarded-");
            (is_free && !is_taken).then(|| Some(name.to_owned()))
        }
    }
}

/// Headers that say something else.
const TAKEN: [&str; 7] =
    ["authorization", "cookie", "forwarded", "proxy-status", "set-cookie", "x-proxy-explain", "x-real-ip"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        assert_eq!(audience("Loopback"), Some(Audience::Loopback));
        assert_eq!(audience("on"), None);
        assert_eq!(log_file("OFF"), Some(None));
        assert_eq!(log_file("/var/log/p.log"), Some(Some("/var/log/p.log".into())));
        for text in ["p.log", "./p.log", "/var/log/", "on", "~/p.log"] {
            assert_eq!(log_file(text), None, "{text}");
        }
        assert_eq!(log_format("JSON"), Some(LogFormat::Json));
        assert_eq!(request_id("off"), Some(None));
        assert_eq!(request_id("X-Request-Id"), Some(Some("X-Request-Id".to_owned())));
        for text in ["Host", "Content-Length", "X Y", "a:b", "Connection", "X-Forwarded-For"] {
            assert_eq!(request_id(text), None, "{text}");
        }
    }

    #[test]
    fn a_form_alone_tells_nothing() {
        assert!(Tracing { log_format: LogFormat::Json, ..Tracing::default() }.is_off());
        assert!(!Tracing { proxy_status: true, ..Tracing::default() }.is_off());
    }
}
