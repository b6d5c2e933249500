//! `mkproxy status`: how the servers are doing, once or all the time.

mod fetch;
mod live;
mod table;

use std::io::{IsTerminal, Read};

use crate::cli::{Failure, Status, Watch};
use crate::say;
use fetch::Url;
use table::Snapshot;

/// Shows the table.
pub fn run(command: &Watch) -> Result<Status, Failure> {
    let is_stdin = command.url == "-";
    if !is_stdin && !command.once && !command.json && std::io::stdout().is_terminal() {
        return live::run(Url::parse(&command.url).map_err(Failure)?, command.interval);
    }
    let body = if is_stdin {
        from_stdin()?
    } else {
        let url = Url::parse(&command.url).map_err(Failure)?;
        url.get().map_err(|reason| Failure(url.named(&reason)))?
    };
    let snapshot = Snapshot::new(&body, 0).map_err(Failure)?;
    if command.json {
        say::line(String::from_utf8_lossy(&body).trim_end());
    } else {
        say::line(snapshot.lines(None, width()).join("\n"));
    }
    Ok(if snapshot.all_online() { Status::Well } else { Status::Failed })
}

fn from_stdin() -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    std::io::stdin().lock().read_to_end(&mut body)?;
    Ok(body)
}

/// Of the terminal; what goes into a file or a pipe is not cut.
fn width() -> usize {
    match crossterm::terminal::size() {
        Ok((width, _)) if std::io::stdout().is_terminal() => usize::from(width),
        _ => usize::MAX,
    }
}
