//! `mkproxy man` and `mkproxy completions`: made of the command line's definitions and of the
//! table of keys, so that they cannot say anything else.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, italic, roman};
use monkey_proxy_reverse::config::LoadBalancer;
use monkey_proxy_reverse::config::keys::{KEYS, Key};

use crate::cli::{Cli, Completions, Failure, Man, Status};
use crate::say;

/// Writes completions to standard output.
pub fn completions(command: &Completions) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), NAME, &mut script);
    say::line(String::from_utf8_lossy(&script).trim_end());
    Ok(Status::Well)
}

/// Writes all pages into a folder.
pub fn pages(command: &Man) -> Result<Status, Failure> {
    fs::create_dir_all(&command.dir)?;
    let mut cli = Cli::command();
    cli.build();
    page(&command.dir, NAME, cli.clone())?;
    for one in cli.get_subcommands().filter(|one| one.get_name() != "help") {
        let name = format!("{NAME}-{}", one.get_name());
        page(&command.dir, &name, one.clone().display_name(name.clone()))?;
    }
    write(&command.dir, "proxy_reverse.conf.5", configuration().render().as_bytes())?;
    Ok(Status::Well)
}

fn page(folder: &Path, name: &str, command: Command) -> Result<(), Failure> {
    let mut text = Vec::new();
    Page::new(command).title(name.to_uppercase()).render(&mut text)?;
    write(folder, &format!("{name}.1"), &text)
}

fn write(folder: &Path, name: &str, text: &[u8]) -> Result<(), Failure> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    say::line(path.display());
    Ok(())
}

/// proxy_reverse.conf(5).
fn configuration() -> Roff {
    let mut page = Roff::new();
    page.control("TH", ["PROXY_REVERSE.CONF", "5", "", "", "Monkey HTTP Server"]);
    page.control("SH", ["NAME"]);
    page.text([roman("proxy_reverse.conf - servers behind the Monkey web server")]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in GRAMMAR {
        page.control("PP", []);
        page.text([roman(*paragraph)]);
    }
    page.control("SH", ["KEYS"]);
    for key in KEYS {
        describe(key, &mut page);
    }
    page.control("SH", ["LOAD BALANCERS"]);
    page.text([roman(LoadBalancer::ALL.map(LoadBalancer::name).join(", "))]);
    page.control("SH", ["EXAMPLE"]);
    page.control("nf", []);
    page.text([roman("[PROXY_ENTRY]")]);
    page.text([roman("    Match       ^/app/")]);
    page.text([roman("    ServerList  127.0.0.1:8081 127.0.0.1:8082")]);
    page.control("fi", []);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("mkproxy"), roman("(1), "), bold("mkproxy-check"), roman("(1)")]);
    page
}

fn describe(key: &Key, page: &mut Roff) {
    page.control("TP", []);
    page.text([bold(key.name), roman(" "), italic(key.example)]);
    page.text([roman(format!("{}.", key.doc))]);
    page.control("br", []);
    let default =
        key.default.map_or_else(|| "No default.".to_owned(), |default| format!("Default: {default}."));
    page.text([roman(format!("Value: {}. {default}", key.kind.expected()))]);
}

const NAME: &str = "mkproxy";

const GRAMMAR: &[&str] = &[
    "The plugin proxy_reverse of the Monkey web server reads this file when Monkey starts, from plugins/proxy_reverse below Monkey's configuration folder.",
    "[PROXY_ENTRY] begins an entry: patterns, and the servers behind them. The first entry with a pattern that matches the decoded path of a request takes it; what no entry matches is left to Monkey. [PROXY_DEFAULTS] holds what all entries inherit. Every key may stand in both.",
    "A line is a key and its value, with blanks between them; no '=' and no quotes. A line whose first character other than a blank is # is a comment. Letter case, - and _ make no difference in names of keys and sections. ${NAME} and ${NAME:-default} stand for environment variables, and '@INCLUDE file' for the lines of another file.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_on_the_file_has_all_keys() {
        let page = configuration().render();
        for key in KEYS {
            assert!(page.contains(&format!("\\fB{}\\fR", key.name)), "{}", key.name);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
