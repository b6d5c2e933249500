//! The command line: commands, options, exit statuses. Manual pages and completions come from
//! here too, so every text is written for them as well.

use std::net::IpAddr;
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
    Explain(Explain),
    Keys(Keys),
    Status(Watch),
    Install(Install),
    Uninstall(Uninstall),
    Completions(Completions),
    Man(Man),
}

/// Says everything that is wrong with a configuration file, and what would be right
#[derive(Args)]
#[command(after_help = CHECK_STATUS)]
pub struct Check {
    /// The file, usually plugins/proxy_reverse/proxy_reverse.conf below Monkey's configuration; - for standard input
    pub file: Option<PathBuf>,
    /// Monkey's configuration folder: whether its own files fit, too; FILE may be left out then
    #[arg(long, value_name = "DIR")]
    pub conf: Option<PathBuf>,
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

/// Says what would become of a request, and why: which entry takes it, and which server
#[derive(Args)]
#[command(after_help = EXPLAIN_STATUS)]
pub struct Explain {
    /// The configuration file; - for standard input
    pub file: PathBuf,
    /// The URL, or its path
    pub url: String,
    /// The Host header, if the URL has no host
    #[arg(long)]
    pub host: Option<String>,
    /// The address of the client, for Source-Hash
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<IpAddr>,
    /// The method
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// For whom to write
    #[arg(long, value_enum, default_value = "text")]
    pub format: Answer,
}

const EXPLAIN_STATUS: &str = "\
It tells of a proxy that has just started with this file: all servers are online and idle. A proxy
at work is asked with StatisticsURL?explain=/path.

Exit status:
  0  the request goes to a server, or to the statistics page
  1  it does not, or the file has mistakes
  2  the command line is wrong";

/// Shows how the servers are doing, from the statistics page of a proxy at work
#[derive(Args)]
#[command(after_help = STATUS_HELP)]
pub struct Watch {
    /// The page: http://host:port and the path of StatisticsURL; - for its JSON on standard input
    pub url: String,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub interval: f64,
    /// Look once, and write the table as plain text
    #[arg(long)]
    pub once: bool,
    /// Look once, and write the JSON of the page as it is
    #[arg(long)]
    pub json: bool,
}

const STATUS_HELP: &str = "\
Where there is no terminal it looks once. Keys: q quits, r asks at once. Times are those of whole
answers: half of them, 95 and 99 of 100 took no longer.

Exit status:
  0  all servers are online; those that are disabled do not count
  1  some are not (with --once, --json and without a terminal), or the page cannot be had
  2  the command line is wrong";

/// Puts the plugin into Monkey's folders and its line into plugins.load
#[derive(Args)]
#[command(after_help = INSTALL_HELP)]
pub struct Install {
    /// Monkey's configuration folder, such as /etc/monkey
    #[arg(long, value_name = "DIR")]
    pub conf: PathBuf,
    /// The plugin; one beside this program if nothing is said
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
    /// Where it goes; beside the plugins that plugins.load names if nothing is said
    #[arg(long, value_name = "DIR")]
    pub plugins_dir: Option<PathBuf>,
    /// Which Monkey it is
    #[arg(long, value_enum, default_value = "auto")]
    pub family: FamilyChoice,
    /// Monkey's binary, which is asked for its version
    #[arg(long, value_name = "FILE")]
    pub monkey: Option<PathBuf>,
    /// Write the lines that Monkey 1.8 needs into sites/default, section HANDLERS
    #[arg(long)]
    pub handlers: bool,
    /// Replace another version of the plugin
    #[arg(long)]
    pub upgrade: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

const INSTALL_HELP: &str = "\
A second run changes nothing. What is there and different is not written over; of files that get
a line, what they were before is kept beside them with a ~ at the end of its name, which Monkey
does not read.";

/// Takes the plugin out of plugins.load and of the sites; its own files stay
#[derive(Args)]
pub struct Uninstall {
    /// Monkey's configuration folder, such as /etc/monkey
    #[arg(long, value_name = "DIR")]
    pub conf: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Writes the completions for a shell to standard output
#[derive(Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Writes manual pages: mkproxy(1), one for each command, and proxy_reverse.conf(5)
#[derive(Args)]
pub struct Man {
    /// The folder that they are written to
    pub dir: PathBuf,
}

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

/// For whom to write an answer.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Answer {
    /// People
    Text,
    /// Programs: one JSON object
    Json,
}

/// Which kind of Monkey.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FamilyChoice {
    /// What its files, or its binary, say
    Auto,
    /// 1.5.0 to 1.5.6
    #[value(name = "1.5")]
    Legacy,
    /// 1.7.0 to 1.8.9
    #[value(name = "1.8")]
    Modern,
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
#[derive(Debug)]
pub struct Failure(pub String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}
