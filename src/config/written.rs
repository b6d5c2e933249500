//! Values in the form that a file has them in: what is read comes out again.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use super::heads::{
    ForwardedHeaders, Header, HostHeader, Piece, Via, anybody, private_networks, this_machine,
};
use super::health::{Fault, WhenAllOffline};
use super::keys::KeyId;
use super::model::{ProxyEntry, UpgradePolicy};
use super::servers::Server;

/// What would stand behind the key in a file that says the same as this entry: a value for each
/// line, and none if there is nothing to say. Default values are written as the table of keys
/// has them.
pub fn written(entry: &ProxyEntry, key: KeyId) -> Vec<String> {
    let settings = &entry.settings;
    let (heads, retries) = (&settings.heads, &settings.retries);
    let (health, capacity) = (&settings.health, &settings.capacity);
    let one = match key {
        KeyId::Match => return lines(&entry.patterns, |pattern| pattern.text.clone()),
        KeyId::ServerList | KeyId::Server => return server_lines(&entry.servers, key),
        KeyId::CookieDomain => return lines(&heads.cookie_domains, pair),
        KeyId::CookiePath => return lines(&heads.cookie_paths, pair),
        KeyId::SetRequestHeader => return lines(&heads.set_request, header),
        KeyId::SetResponseHeader => return lines(&heads.set_response, header),
        KeyId::RemoveRequestHeader => return lines(&heads.remove_request, String::clone),
        KeyId::RemoveResponseHeader => return lines(&heads.remove_response, String::clone),
        KeyId::StatisticsUrl => return settings.statistics_url.iter().cloned().collect(),
        KeyId::StripPrefix => return heads.strip_prefix.iter().cloned().collect(),
        KeyId::AddPrefix => return heads.add_prefix.iter().cloned().collect(),

        KeyId::Explain => settings.tracing.explain.name().to_owned(),
        KeyId::ProxyLog => match &settings.tracing.log {
            Some(path) => path.to_string_lossy().into_owned(),
            None => "off".to_owned(),
        },
        KeyId::ProxyLogFormat => settings.tracing.log_format.name().to_owned(),
        KeyId::RequestId => settings.tracing.request_id.clone().unwrap_or_else(|| "off".to_owned()),
        KeyId::ProxyStatus => switch(settings.tracing.proxy_status),

        KeyId::LoadBalancer => entry.load_balancer.to_string(),
        KeyId::AttemptsCount => settings.attempts_count.to_string(),
        KeyId::OfflineTimeOut => time(settings.offline_timeout),
        KeyId::ConnectTimeOut => limit(settings.connect_timeout),
        KeyId::SendTimeOut => limit(settings.send_timeout),
        KeyId::HeaderTimeOut => limit(settings.header_timeout),
        KeyId::ReadTimeOut => limit(settings.read_timeout),
        KeyId::ClientTimeOut => limit(settings.client_timeout),
        KeyId::KeepAlive => switch(settings.keep_alive),
        KeyId::PoolSize => settings.pool_size.to_string(),
        KeyId::PoolIdleTimeOut => limit(settings.pool_idle_timeout),
        KeyId::PoolMaxRequests => settings.pool_max_requests.unwrap_or(0).to_string(),
        KeyId::PoolMaxAge => limit(settings.pool_max_age),
        KeyId::PoolUnsafeIdle => time(settings.pool_unsafe_idle),
        KeyId::PoolLearn => switch(settings.pool_learn),
        KeyId::BufferSize => size(settings.buffer_size),
        KeyId::MaxResponseHeader => size(settings.max_response_header),
        KeyId::TunnelTimeOut => limit(settings.tunnel_timeout),
        KeyId::Upgrade => match settings.upgrade {
            UpgradePolicy::WebSocket => "websocket".to_owned(),
            UpgradePolicy::Any => "any".to_owned(),
            UpgradePolicy::Off => "off".to_owned(),
        },

        KeyId::RetryOn => retries.on.to_string(),
        KeyId::RetryCount => retries.count.to_string(),
        KeyId::RetryTimeOut => limit(retries.timeout),
        KeyId::RetryNonIdempotent => switch(retries.non_idempotent),
        KeyId::RetryKeyHeader => retries.key_header.clone().unwrap_or_else(|| "off".to_owned()),
        KeyId::RetryBudget => retries.budget_percent.to_string(),
        KeyId::RetryBudgetMin => retries.budget_min.to_string(),
        KeyId::PoisonGuard => switch(retries.poison_guard),
        KeyId::PoisonTimeOut => time(retries.poison_timeout),

        KeyId::HostHeader => match &heads.host {
            HostHeader::Client => "client".to_owned(),
            HostHeader::Server => "server".to_owned(),
            HostHeader::Literal(host) => host.clone(),
        },
        KeyId::Via => match &heads.via {
            Via::On => "on".to_owned(),
            Via::Off => "off".to_owned(),
            Via::Named(name) => name.clone(),
        },
        KeyId::ForwardedHeaders => match heads.forwarded {
            ForwardedHeaders::On => "on".to_owned(),
            ForwardedHeaders::Off => "off".to_owned(),
            ForwardedHeaders::Rfc7239 => "rfc7239".to_owned(),
            ForwardedHeaders::Both => "both".to_owned(),
        },
        KeyId::StatisticsAllow => match &settings.statistics_allow {
            any if *any == anybody() => "any".to_owned(),
            here if *here == this_machine() => "127.0.0.0/8 ::1".to_owned(),
            private if *private == private_networks() => "private".to_owned(),
            networks => joined(networks, ToString::to_string),
        },
        KeyId::TrustedProxies => match &heads.trusted_proxies {
            none if none.is_empty() => "none".to_owned(),
            private if *private == private_networks() => "private".to_owned(),
            networks => joined(networks, ToString::to_string),
        },
        KeyId::RewriteLocation => switch(heads.rewrite_location),

        KeyId::FailOn => joined(&health.fail_on, fault),
        KeyId::WhenAllOffline => match health.when_all_offline {
            WhenAllOffline::Try => "try".to_owned(),
            WhenAllOffline::Refuse => "503".to_owned(),
            WhenAllOffline::Static => "static".to_owned(),
        },
        KeyId::OfflineBackoff => health.backoff.to_string(),
        KeyId::OfflineMax => time(health.offline_max),
        KeyId::OfflineJitter => health.offline_jitter.to_string(),
        KeyId::ProbeOffline => switch(health.probe_offline),
        KeyId::ProbeInterval => time(health.probe_interval),
        KeyId::SlowStart => time(health.slow_start),
        KeyId::HealthCheck => health.check.to_string(),
        KeyId::HealthInterval => time(health.interval),
        KeyId::HealthTimeOut => time(health.timeout),
        KeyId::HealthRise => health.rise.to_string(),
        KeyId::HealthFall => health.fall.to_string(),
        KeyId::HealthStatus => joined(&health.statuses, range),

        KeyId::MaxConnections => capacity.max_connections.to_string(),
        KeyId::QueueSize => capacity.queue_size.to_string(),
        KeyId::QueueTimeOut => time(capacity.queue_timeout),
    };
    vec![one]
}

/// A line that names servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLine {
    /// `Server` or `ServerList`.
    pub key: KeyId,
    /// Its value.
    pub value: String,
    /// Those it names, by their places in the list of all.
    pub servers: Range<usize>,
}

/// The lines that name the servers, in the order that the file has to have them in: a list takes
/// those about whom there is nothing to say.
pub fn written_servers(servers: &[Server]) -> Vec<ServerLine> {
    let mut lines: Vec<ServerLine> = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        let plain = *server == Server::at(server.address.clone());
        let key = if plain { KeyId::ServerList } else { KeyId::Server };
        match lines.last_mut() {
            Some(line) if plain && line.key == key => {
                line.value += &format!(" {}", server.address);
                line.servers.end = at + 1;
            }
            _ => lines.push(ServerLine { key, value: described(server), servers: at..at + 1 }),
        }
    }
    lines
}

fn server_lines(servers: &[Server], key: KeyId) -> Vec<String> {
    written_servers(servers).into_iter().filter(|line| line.key == key).map(|line| line.value).collect()
}

fn described(server: &Server) -> String {
    let mut line = server.address.to_string();
    if server.weight != 1 {
        line += &format!(" weight={}", server.weight);
    }
    if let Some(max) = server.max {
        line += &format!(" max={max}");
    }
    if let Some(name) = &server.name {
        line += &format!(" name={name}");
    }
    if server.backup {
        line += " backup";
    }
    if server.disabled {
        line += " disabled";
    }
    line
}

fn lines<T>(list: &[T], shown: impl Fn(&T) -> String) -> Vec<String> {
    list.iter().map(shown).collect()
}

fn joined<T>(list: &[T], shown: impl Fn(&T) -> String) -> String {
    lines(list, shown).join(" ")
}

fn pair((from, to): &(String, String)) -> String {
    format!("{from} {to}")
}

fn header(header: &Header) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::ClientIp => "${client_ip}".to_owned(),
        Piece::Host => "${host}".to_owned(),
        Piece::Scheme => "${scheme}".to_owned(),
        Piece::RequestId => "${request_id}".to_owned(),
    };
    format!("{} {}", header.name, header.value.iter().map(piece).collect::<String>())
}

fn switch(on: bool) -> String {
    if on { "on".to_owned() } else { "off".to_owned() }
}

fn time(time: Duration) -> String {
    match time.subsec_millis() {
        0 => time.as_secs().to_string(),
        _ => format!("{}ms", time.as_millis()),
    }
}

fn limit(limit: Option<Duration>) -> String {
    time(limit.unwrap_or_default())
}

fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{}M", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}K", bytes >> 10),
        _ => bytes.to_string(),
    }
}

fn fault(fault: &Fault) -> String {
    match fault {
        Fault::Connect => "connect".to_owned(),
        Fault::Timeout => "timeout".to_owned(),
        Fault::Reset => "reset".to_owned(),
        Fault::Invalid => "invalid".to_owned(),
        Fault::Status(statuses) => range(statuses),
    }
}

fn range(range: &RangeInclusive<u16>) -> String {
    match (*range.start(), *range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) if first % 100 == 0 && last == first + 99 => format!("{}xx", first / 100),
        (first, last) => format!("{first}-{last}"),
    }
}
