//! What was probably meant: words of other programs, and values in a form that we don't read.

use super::keys::{Key, Kind};
use super::model::LoadBalancer;
use super::suggest::{closest, normalized};

/// What stands here for a word of another proxy's configuration, or for what people call a
/// thing before they have read the reference.
pub(super) fn foreign_key(word: &str) -> Option<&'static str> {
    let word = normalized(word.trim_end_matches([';', '{']));
    FOREIGN_KEYS.iter().find(|(names, _)| names.contains(&word.as_str())).map(|(_, hint)| *hint)
}

/// The load balancer that is near to `name`, or does what another program calls so.
pub(super) fn balancer(name: &str) -> Option<&'static str> {
    let word = normalized(&name.replace(' ', ""));
    let foreign = FOREIGN_BALANCERS.iter().find(|(names, _)| names.contains(&word.as_str()));
    let near = || closest(&word, LoadBalancer::ALL.map(LoadBalancer::name));
    foreign.map(|(_, name)| *name).or_else(near)
}

/// How `text` is written so that this key takes it, if that can be told.
pub(super) fn value(key: &Key, text: &str) -> Option<String> {
    let word = text.to_ascii_lowercase().replace(['"', '\'', ';', ' ', '\t'], "");
    let found = match key.kind {
        Kind::Switch => match word.as_str() {
            "yes" | "true" | "1" | "enable" | "enabled" | "y" => "on".to_owned(),
            "no" | "false" | "0" | "disable" | "disabled" | "n" | "none" | "never" => "off".to_owned(),
            on_or_off => on_or_off.to_owned(),
        },
        Kind::Time { .. } | Kind::Span { .. } => time(&word)?,
        Kind::Size { .. } => size(&word)?,
        Kind::Number { .. } | Kind::Amount { .. } | Kind::PoolSize { .. } => word,
        _ => return None,
    };
    key.kind.takes(&found).then_some(found)
}

/// What the glob `pattern` means, as a regular expression; `None` if it is none of the usual ones.
pub(super) fn glob(pattern: &str) -> Option<String> {
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b))
    };
    let body = pattern.strip_prefix('^').unwrap_or(pattern);
    let body = body.strip_suffix('$').unwrap_or(body);
    if let Some(extension) = body.trim_start_matches(['/', '*']).strip_prefix('.')
        && (body.starts_with("*.") || body.starts_with("/*."))
        && plain(extension)
    {
        return Some(format!(r"\.{extension}$"));
    }
    match body.strip_suffix("/*") {
        Some("") => Some("^/".to_owned()),
        Some(folder) if folder.starts_with('/') && plain(folder) => Some(format!("^{folder}/")),
        _ => None,
    }
}

fn time(word: &str) -> Option<String> {
    let (number, unit) = split(word);
    let (factor, unit) = match unit.trim_end_matches('.') {
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => (1, "ms"),
        "" | "s" | "sec" | "secs" | "second" | "seconds" => (1, "s"),
        "m" | "min" | "mins" | "minute" | "minutes" => (1, "m"),
        "h" | "hr" | "hrs" | "hour" | "hours" => (1, "h"),
        "d" | "day" | "days" => (24, "h"),
        "w" | "week" | "weeks" => (7 * 24, "h"),
        _ => return None,
    };
    Some(format!("{}{unit}", scaled(number, factor)?))
}

fn size(word: &str) -> Option<String> {
    let (number, unit) = split(word);
    match unit {
        "k" | "kb" | "kib" => Some(format!("{number}K")),
        "m" | "mb" | "mib" => Some(format!("{number}M")),
        "" | "b" | "byte" | "bytes" => Some(number.to_owned()),
        _ => None,
    }
}

fn split(word: &str) -> (&str, &str) {
    word.split_at(word.bytes().take_while(u8::is_ascii_digit).count())
}

fn scaled(number: &str, factor: u64) -> Option<u64> {
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Names in the spelling of [`normalized`], and what to write.
const FOREIGN_KEYS: &[(&[&str], &str)] = &[
    (
        &["location", "path", "url", "uri", "pattern", "locationmatch", "acl"],
        r"'Match', as in 'Match ^/app/'",
    ),
    (
        &["proxypass", "upstream", "servers", "backends", "balancermember", "fastcgipass", "reverseproxy"],
        "'ServerList', as in 'ServerList 127.0.0.1:8081 127.0.0.1:8082'",
    ),
    (&["backend", "node", "host"], "'Server', as in 'Server 127.0.0.1:8081 weight=2'"),
    (
        &["balance", "algorithm", "balancer", "lbpolicy", "lbmethod", "leastconn", "iphash", "scheduler"],
        "'LoadBalancer', as in 'LoadBalancer Least-Connections'",
    ),
    (&["proxyconnecttimeout", "contimeout"], "'ConnectTimeOut', as in 'ConnectTimeOut 3'"),
    (
        &["proxyreadtimeout", "timeout", "proxytimeout"],
        "'ReadTimeOut' and 'HeaderTimeOut', as in 'ReadTimeOut 60'",
    ),
    (&["proxysendtimeout"], "'SendTimeOut', as in 'SendTimeOut 60'"),
    (
        &["proxysetheader", "requestheader", "headerup"],
        "'SetRequestHeader', as in 'SetRequestHeader X-Site ${host}'",
    ),
    (
        &["addheader", "header", "headerdown"],
        "'SetResponseHeader', as in 'SetResponseHeader X-Frame-Options DENY'",
    ),
    (&["proxyhideheader"], "'RemoveResponseHeader', as in 'RemoveResponseHeader X-Powered-By'"),
    (
        &["proxynextupstream", "retries"],
        "'RetryOn' and 'RetryCount', as in 'RetryOn connect stale reset 503'",
    ),
    (&["proxynextupstreamtries"], "'RetryCount', as in 'RetryCount 2'"),
    (&["proxynextupstreamtimeout"], "'RetryTimeOut', as in 'RetryTimeOut 10'"),
    (&["maxfails", "attempts", "tries"], "'AttemptsCount', as in 'AttemptsCount 2'"),
    (&["failtimeout"], "'OfflineTimeOut', as in 'OfflineTimeOut 60'"),
    (&["maxconn", "maxconns"], "'MaxConnections', as in 'MaxConnections 100'"),
    (&["healthuri", "httpchk", "optionhttpchk"], "'HealthCheck', as in 'HealthCheck GET /health'"),
    (&["setrealipfrom"], "'TrustedProxies', as in 'TrustedProxies private'"),
    (&["proxypreservehost"], "'HostHeader', as in 'HostHeader client'"),
    (&["proxybuffersize"], "'MaxResponseHeader', as in 'MaxResponseHeader 16K'"),
    (&["proxybuffers"], "'BufferSize', as in 'BufferSize 16K'"),
    (&["rewrite"], "'StripPrefix' and 'AddPrefix', as in 'StripPrefix /app'"),
    (&["stubstatus", "statsuri", "statsurl"], "'StatisticsURL', as in 'StatisticsURL /proxy/statistics'"),
    (
        &["listen", "port", "servername", "documentroot", "root", "sslcertificate"],
        "it in Monkey's own files, monkey.conf or sites/default; this one is about servers behind Monkey",
    ),
    (&["//", "/*"], "'#' as the first character of a comment line"),
    (&["}", "{", ""], "sections as [PROXY_ENTRY], without braces"),
];

const FOREIGN_BALANCERS: &[(&[&str], &str)] = &[
    (&["leastconn", "leastrequest", "leastconns", "lc", "wlc"], "Least-Connections"),
    (&["iphash", "source", "hash", "clientip", "sh"], "Source-Hash"),
    (&["rr", "wrr", "random", "randomchoose", "byrequests"], "Round-Robin"),
    (&["first", "failover", "activepassive", "hotstandby"], "First-Alive"),
];

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    #[test]
    fn values_are_put_right() {
        for (key, text, meant) in [
            ("KeepAlive", "yes", Some("on")),
            ("KeepAlive", "\"off\"", Some("off")),
            ("KeepAlive", "maybe", None),
            ("ReadTimeOut", "30sec", Some("30s")),
            ("ReadTimeOut", "5 minutes", Some("5m")),
            ("ReadTimeOut", "1d", Some("24h")),
            ("ReadTimeOut", "2w", None),
            ("ReadTimeOut", "1.5s", None),
            ("ReadTimeOut", "99999999999999999999d", None),
            ("BufferSize", "32kb", Some("32K")),
            ("BufferSize", "1 MB", Some("1M")),
            ("BufferSize", "2g", None),
            ("RetryCount", "'3'", Some("3")),
            ("RetryCount", "-1", None),
            ("Via", "a b", None),
        ] {
            let key = keys::find(key).unwrap();
            assert_eq!(value(key, text).as_deref(), meant, "{} {text}", key.name);
        }
    }

    #[test]
    fn every_hint_for_a_word_names_keys_that_there_are() {
        for (words, hint) in FOREIGN_KEYS {
            if let Some(rest) = hint.strip_prefix('\'')
                && !rest.starts_with('#')
            {
                let name = rest.split('\'').next().unwrap();
                assert!(keys::find(name).is_some(), "{hint}");
                let example = hint.split("as in '").nth(1).unwrap();
                assert!(keys::find(example.split(' ').next().unwrap()).is_some(), "{hint}");
            }
            for word in *words {
                assert_eq!(normalized(word), **word);
                assert!(keys::find(word).is_none(), "{word} is a key");
                assert_eq!(foreign_key(word), Some(*hint), "{word} stands twice");
            }
        }
        assert_eq!(foreign_key("proxy_pass"), foreign_key("ProxyPass"));
        assert_eq!(foreign_key("Macth"), None);
    }

    #[test]
    fn balancers() {
        for (text, name) in [
            ("least_conn", Some("Least-Connections")),
            ("ip_hash", Some("Source-Hash")),
            ("Roundrobbin", Some("Round-Robin")),
            ("first alive!", Some("First-Alive")),
            ("best", None),
        ] {
            assert_eq!(balancer(text), name, "{text}");
        }
    }

    #[test]
    fn globs() {
        for (pattern, regex) in [
            ("*.php", Some(r"\.php$")),
            ("/*.php", Some(r"\.php$")),
            ("^/*.php$", Some(r"\.php$")),
            ("/app/*", Some("^/app/")),
            ("^/a/b/*", Some("^/a/b/")),
            ("/*", Some("^/")),
            (r"/.*\.php", None),
            (r"\.php$", None),
            ("app/*", None),
            ("^/app/", None),
            ("/*.(php|x)", None),
        ] {
            assert_eq!(glob(pattern).as_deref(), regex, "{pattern}");
        }
    }
}
