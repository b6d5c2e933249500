//! `mkproxy check --conf`: whether Monkey's own files and the plugin's fit together.
//!
//! Monkey's `Timeout` is not looked at: in neither family does it end a request that the plugin
//! is busy with.

use std::net::IpAddr;
use std::path::Path;

use monkey_proxy_reverse::config::keys::KeyId;
use monkey_proxy_reverse::config::{Config, Origins, Place, ProxyEntry, ServerAddress, WhenAllOffline};
use regex::bytes::Regex;

use crate::cli::Failure;
use crate::handlers;
use crate::monkey::{Family, File, family_of, first_word};
use crate::report::Problem;

/// What does not fit.
pub fn problems(conf: &Path, config: &Config) -> Result<Vec<Problem>, Failure> {
    let file = |name: &str| {
        let path = conf.join(name);
        let missing = || {
            Failure(format!(
                "{} is not there; --conf names Monkey's configuration folder, such as /etc/monkey",
                path.display()
            ))
        };
        File::read(&path)?.ok_or_else(missing)
    };
    let (server, loader) = (file("monkey.conf")?, file("plugins.load")?);
    let mut problems = Vec::new();
    let loads = loader.values("PLUGINS", "Load");
    if !loads.iter().any(|load| load.value.ends_with("monkey-proxy_reverse.so")) {
        problems.push(Problem::of_file(
            "not-loaded",
            &loader.path,
            "no line loads the plugin",
            "write one, or run 'mkproxy install'",
        ));
    }
    let listeners = listeners(&server);
    for (entry, origins) in config.entries.iter().zip(&config.origins) {
        problems.extend(own_server(entry, origins, &listeners));
    }
    if family_of(&server, &loader) == Some(Family::Modern) {
        for (entry, origins) in config.entries.iter().zip(&config.origins) {
            problems.extend(cannot_leave(entry, origins));
        }
        problems.extend(not_handed_over(conf, config)?);
    }
    Ok(problems)
}

/// A server that is the Monkey whose plugin asks it.
fn own_server(entry: &ProxyEntry, origins: &Origins, listeners: &[Listener]) -> Option<Problem> {
    let is_own = |address: &ServerAddress| match address {
        ServerAddress::Socket(address) => listeners.iter().any(|own| own.is_at(address.ip(), address.port())),
        ServerAddress::Name { host, port } if host == "localhost" => {
            listeners.iter().any(|own| own.is_at(IpAddr::from([127, 0, 0, 1]), *port))
        }
        _ => false,
    };
    let server = entry.servers.iter().find(|server| !server.disabled && is_own(&server.address))?;
    let places = origins.of(KeyId::ServerList).iter().chain(origins.of(KeyId::Server));
    Some(Problem::at(
        "own-server",
        places.last()?,
        &format!("server {} is this Monkey itself, a request that comes back to it is a 508", server.address),
        "write the address of an application",
    ))
}

/// `WhenAllOffline static` where a request cannot be given back.
fn cannot_leave(entry: &ProxyEntry, origins: &Origins) -> Option<Problem> {
    let place = origins.of(KeyId::WhenAllOffline).last()?;
    (entry.settings.health.when_all_offline == WhenAllOffline::Static).then(|| {
        Problem::at(
            "static-in-1.8",
            place,
            "Monkey 1.8 cannot take requests back, static does what 503 does",
            "write 503",
        )
    })
}

/// Paths that are to go to servers, and that no site of Monkey 1.8 hands over.
fn not_handed_over(conf: &Path, config: &Config) -> Result<Vec<Problem>, Failure> {
    let sites = handlers::sites(conf)?;
    let Some(default) = sites.first() else { return Ok(Vec::new()) };
    let lines: Vec<_> = sites.iter().flat_map(handlers::ours).collect();
    if lines.is_empty() {
        let wanted = handlers::wanted(config).patterns;
        let example = wanted.first().map_or("^/app/", String::as_str);
        return Ok(vec![Problem::of_file(
            "no-handlers",
            &default.path,
            "no line of [HANDLERS] hands anything to the plugin",
            &format!("write one, as in 'Match {example} proxy_reverse', or run 'mkproxy install --handlers'"),
        )]);
    }
    // A pattern that we cannot read is taken for one that matches everything.
    let patterns: Option<Vec<Regex>> =
        lines.iter().map(|line| handlers::as_regex(first_word(&line.value))).collect();
    let Some(patterns) = patterns else { return Ok(Vec::new()) };
    let is_handed = |path: &[u8]| patterns.iter().any(|pattern| pattern.is_match(path));
    let mut problems = Vec::new();
    for (entry, origins) in config.entries.iter().zip(&config.origins) {
        let of_patterns = entry.patterns.iter().filter_map(|pattern| {
            let path = handlers::example(pattern)?;
            let place = origins.of(KeyId::Match).iter().find(|place| place.line() == pattern.line)?;
            (!is_handed(path.as_bytes())).then(|| unreached(place, &path))
        });
        problems.extend(of_patterns);
        if let (Some(url), Some(place)) =
            (&entry.settings.statistics_url, origins.of(KeyId::StatisticsUrl).last())
            && !is_handed(url.as_bytes())
        {
            problems.push(unreached(place, url));
        }
    }
    problems.dedup_by(|a, b| a.is_as(b));
    Ok(problems)
}

fn unreached(place: &Place, path: &str) -> Problem {
    let remedy = "add a line to [HANDLERS] of the site, or run 'mkproxy install --handlers'";
    let message = format!("Monkey 1.8 hands no request for {path} to the plugin");
    Problem::at("not-handed-over", place, &message, remedy)
}

/// Where Monkey listens.
struct Listener {
    /// `None` for all addresses.
    address: Option<IpAddr>,
    port: u16,
}

impl Listener {
    fn is_at(&self, address: IpAddr, port: u16) -> bool {
        let same = match self.address {
            Some(own) => own == address,
            None => address.is_loopback() || address.is_unspecified(),
        };
        same && self.port == port
    }
}

fn listeners(server: &File) -> Vec<Listener> {
    let listens = server.values("SERVER", "Listen");
    let address = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let somewhere = |address: IpAddr| (!address.is_unspecified()).then_some(address);
    if let Some(port) = server.values("SERVER", "Port").first().and_then(|port| port.value.parse().ok()) {
        // 1.5: one port, and perhaps one address.
        let address = listens.first().and_then(|listen| address(first_word(&listen.value)));
        return vec![Listener { address: address.and_then(somewhere), port }];
    }
    let modern = listens.iter().filter_map(|listen| {
        let word = first_word(&listen.value);
        match word.rsplit_once(':') {
            Some((own, port)) => {
                Some(Listener { address: somewhere(address(own)?), port: port.parse().ok()? })
            }
            None => Some(Listener { address: None, port: word.parse().ok()? }),
        }
    });
    modern.collect()
}
