//! `mkproxy check`: reads a configuration as the plugin does, and says what it makes of it.

use std::io::Read;
use std::path::Path;

use monkey_proxy_reverse::config::{self, Config, ConfigErrors};

use crate::cli::{self, Check, Failure, Format, Status};
use crate::effective;
use crate::report::{Report, Sources};
use crate::say;
use crate::surroundings;

/// Checks the file and reports.
pub fn run(command: &Check) -> Result<Status, Failure> {
    if command.format == Format::Conf && !command.effective {
        cli::wrong_usage("--format conf belongs to --effective");
    }
    let file = match (&command.file, &command.conf) {
        (Some(file), _) => file.clone(),
        (None, Some(conf)) => conf.join("plugins/proxy_reverse/proxy_reverse.conf"),
        (None, None) => cli::wrong_usage("a FILE is missing, or --conf with Monkey's configuration folder"),
    };
    let input = Input::read(&file)?;
    let result = input.config();
    let further = match (&command.conf, &result) {
        (Some(conf), Ok(config)) => surroundings::problems(conf, config)?,
        _ => Vec::new(),
    };
    let report = Report::new(&result, further);
    let status = match () {
        () if report.errors > 0 => Status::Failed,
        () if report.warnings > 0 && command.strict => Status::Warned,
        () => Status::Well,
    };
    let effective = result.as_ref().ok().filter(|_| command.effective);
    match (command.format, effective) {
        (Format::Json, effective) => {
            let mut object = report.to_json(&input.sources);
            if let (Some(config), Some(object)) = (effective, object.as_object_mut()) {
                object.insert("effective".to_owned(), effective::json(config));
            }
            say::line(object);
        }
        (Format::Conf, Some(config)) => say::line(effective::file(config, &input.name)),
        (Format::Text | Format::Conf, effective) => {
            if let Some(config) = effective {
                say::line(format_args!("{}\n", effective::table(config, &input.name)));
            }
            report.print(&input.sources);
            if !command.quiet || status != Status::Well {
                say::line(format_args!("{}", summary(&input, &result, &report)));
            }
        }
    }
    Ok(status)
}

/// What is checked: a file, or what comes over standard input.
pub struct Input {
    /// What messages call it, and what included files are relative to.
    name: std::path::PathBuf,
    /// All of it, if it is no file.
    text: Option<Vec<u8>>,
    /// Where lines for messages come from.
    pub sources: Sources,
}

impl Input {
    /// Takes everything from standard input if the name is `-`.
    pub fn read(file: &Path) -> Result<Input, Failure> {
        if file != Path::new("-") {
            return Ok(Input { name: file.to_owned(), text: None, sources: Sources::default() });
        }
        let (mut text, name) = (Vec::new(), Path::new(STDIN).to_owned());
        std::io::stdin().lock().read_to_end(&mut text)?;
        let sources = Sources::with(&name, &text);
        Ok(Input { name, text: Some(text), sources })
    }

    /// The configuration, or what is wrong with it.
    pub fn config(&self) -> Result<Config, ConfigErrors> {
        match &self.text {
            Some(text) => config::from_text(&self.name, text, &|name| std::env::var(name).ok()),
            None => config::load(&self.name),
        }
    }
}

/// What `explain` and others need: a configuration without mistakes, or the mistakes told.
pub fn good(file: &Path) -> Result<Option<Config>, Failure> {
    let input = Input::read(file)?;
    let result = input.config();
    if result.is_err() {
        Report::new(&result, Vec::new()).print(&input.sources);
    }
    Ok(result.ok())
}

fn summary(input: &Input, result: &Result<Config, ConfigErrors>, report: &Report) -> String {
    let name = input.name.display();
    let warnings = match report.warnings {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning")),
    };
    match result {
        Err(_) => {
            format!("{name}: {}{warnings}; the plugin would not start", counted(report.errors, "error"))
        }
        Ok(config) => {
            let servers: usize = config.entries.iter().map(|entry| entry.servers.len()).sum();
            let (entries, servers) = (config.entries.len(), counted(servers, "server"));
            let entries = if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
            format!("{name}: {entries}, {servers}, no errors{warnings}")
        }
    }
}

/// `1 error`, `2 errors`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

const STDIN: &str = "<stdin>";
