//! An explanation as lines of text.

use std::fmt;

use super::{Explanation, Outcome, Passed};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request:  {} {}", self.method, self.target.escape_debug())?;
        if let Some(host) = &self.host {
            write!(f, ", Host {}", host.escape_debug())?;
        }
        if let Some(client) = self.client {
            write!(f, ", from {client}")?;
        }
        writeln!(f, "\npath:     {}", self.path.escape_debug())?;
        for passed in &self.passed_over {
            writeln!(f, "no match: {}", Line(passed))?;
        }
        if let Some(entry) = &self.entry {
            writeln!(f, "entry:    {}", entry.place)?;
            writeln!(f, "pattern:  {}  ({})", entry.pattern, entry.pattern_place)?;
        }
        for passed in &self.not_reached {
            writeln!(f, "too late: {}", Line(passed))?;
        }
        if let Some(entry) = &self.entry {
            writeln!(f, "goes out: {}, Host {}", entry.sent_target.escape_debug(), entry.sent_host)?;
        }
        if let Some(balancing) = &self.balancing {
            writeln!(f, "balancer: {}: {}", balancing.algorithm, balancing.reasoning)?;
            let wide = |len: fn(&super::Candidate) -> usize| balancing.servers.iter().map(len).max();
            let (name, code) = (wide(|it| it.server.chars().count()), wide(|it| it.code.len()));
            let (name, code) = (name.unwrap_or(0), code.unwrap_or(0));
            for server in &balancing.servers {
                write!(f, "server:   {:name$}  {:code$}  {}", server.server, server.code, server.why)?;
                write!(f, "; weight {}, {} in flight", server.weight, server.in_flight)?;
                if let Some(max) = server.max {
                    write!(f, " of {max}")?;
                }
                writeln!(f)?;
            }
        }
        let chosen = self.balancing.as_ref().and_then(|balancing| balancing.chosen.as_deref());
        match (self.outcome, chosen) {
            (Outcome::Forwarded, chosen) => writeln!(f, "outcome:  goes to {}", chosen.unwrap_or("nobody")),
            (Outcome::Waits, _) => writeln!(f, "outcome:  waits until a server has room (QueueSize)"),
            (Outcome::Refused, _) => writeln!(f, "outcome:  503, no server takes it"),
            (Outcome::LeftToMonkey, _) => {
                writeln!(f, "outcome:  Monkey serves its own file (WhenAllOffline static)")
            }
            (Outcome::Statistics, _) => writeln!(f, "outcome:  the statistics page"),
            (Outcome::NotMatched, _) => writeln!(f, "outcome:  no Match takes it: Monkey serves it"),
        }
    }
}

/// An entry in one line.
struct Line<'a>(&'a Passed);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.0.place, self.0.patterns.join(" "))
    }
}
