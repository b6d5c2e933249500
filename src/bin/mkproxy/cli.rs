//! The command line: commands, options, exit statuses. Manual pages and completions come from
//! here too, so every text is written for them as well.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Checks, explains and installs the reverse proxy plugin of the Monkey web server
#[derive(Parser)]
#[command(name = "mkproxy", version, max_term_width = 100)]
pub struct Cli {
    /// Whether to write in colours; auto is on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", global = true)]
    pub color: Color,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do.
#[derive(Subcommand)]
pub enum Command {
    Check(Check),
    Keys(Keys),
}

/// Says everything that is wrong with a configuration file, and what would be right
#[derive(Args)]
#[command(after_help = CHECK_STATUS)]
pub struct Check {
    /// The file, usually plugins/proxy_reverse/proxy_reverse.conf below Monkey's configuration; - for standard input
    pub file: PathBuf,
    /// For whom to write
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Show every key of every entry, with its value and where that comes from
    #[arg(long)]
    pub effective: bool,
    /// Warnings are a failure, too
    #[arg(long)]
    pub strict: bool,
    /// Say nothing when all is well
    #[arg(short, long)]
    pub quiet: bool,
}

const CHECK_STATUS: &str = "\
Exit status:
  0  the plugin takes the file; there may be warnings
  1  the plugin refuses the file
  2  the command line is wrong
  3  there are warnings, and --strict was given";

/// Lists the keys of the configuration file, or explains some
#[derive(Args)]
pub struct Keys {
    /// Names of keys; all if none is given
    pub names: Vec<String>,
}

/// For whom to write.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// People
    Text,
    /// Programs: one JSON object
    Json,
    /// The plugin: with --effective, a file that means the same and inherits nothing
    Conf,
}

/// When to write in colours.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal
    Auto,
    /// In any case
    Always,
    /// Not at all
    Never,
}

impl Color {
    /// Makes it hold for everything that is written.
    pub fn write_global(self) {
        match self {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Well,
    /// What was asked for is not so, or could not be done.
    Failed,
    /// There are warnings, and they were to be a failure.
    Warned,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        // 2 is what the parser of the command line ends with.
        ExitCode::from(match status {
            Status::Well => 0,
            Status::Failed => 1,
            Status::Warned => 3,
        })
    }
}

/// Ends as the parser does when the command line is wrong.
pub fn wrong_usage(why: &str) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, why).exit()
}

/// Why something could not be done: one line for people.
pub struct Failure(pub String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}
