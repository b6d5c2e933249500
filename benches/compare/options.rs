//! What the command line asks for.

use super::scenarios::SCENARIOS;

/// How the run is made.
pub struct Options {
    /// One short round, to see that everything works.
    pub quick: bool,
    /// The scenarios to run; all if empty.
    pub only: Vec<String>,
    /// How often each server is asked in each scenario; the median counts.
    pub rounds: usize,
    /// How long each time.
    pub seconds: u64,
}

impl Options {
    /// Reads the arguments.
    pub fn read(args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { quick: false, only: Vec::new(), rounds: 0, seconds: 0 };
        let mut args = args;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                // Cargo says it to each of its benches.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--only" => options.only.push(value()?),
                "--rounds" => options.rounds = positive(&arg, &value()?)?,
                "--seconds" => options.seconds = positive(&arg, &value()?)? as u64,
                "--help" => return Err(help()),
                _ => return Err(format!("{arg} is not known\n\n{}", help())),
            }
        }
        let names: Vec<&str> = names().collect();
        if let Some(name) = options.only.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(format!("there is no scenario {name}\n\n{}", help()));
        }
        let or = |value, default| if value == 0 { default } else { value };
        options.rounds = or(options.rounds, if options.quick { 1 } else { 5 });
        options.seconds = or(options.seconds as usize, if options.quick { 1 } else { 2 }) as u64;
        Ok(options)
    }

    /// Whether this scenario is wanted.
    pub fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }

    /// Whether the figures are good for `docs/`: parts and short rounds are not.
    pub fn is_whole(&self) -> bool {
        !self.quick && self.only.is_empty()
    }
}

/// The name of the measurement of memory, which is no scenario.
pub const MEMORY: &str = "memory";
/// The name of the measurement of one worker and two.
pub const WORKERS: &str = "workers";

fn names() -> impl Iterator<Item = &'static str> {
    SCENARIOS.iter().map(|scenario| scenario.id).chain([WORKERS, MEMORY])
}

fn positive(name: &str, value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|&number| number > 0).ok_or(format!("{name} {value}: a number from 1 on"))
}

fn help() -> String {
    let ids: Vec<&str> = names().collect();
    format!(
        "cargo bench --bench compare -- [--quick] [--only SCENARIO]... [--rounds N] [--seconds S]\n\n\
         scenarios: {}\n\n\
         MONKEY_1_5 and MONKEY_1_8 name the binaries of real servers, MPR_PGO a plugin that\n\
         packaging/pgo.sh has built: it is measured in them too. A whole run writes\n\
         docs/PERFORMANCE.md and docs/performance.svg; one that is quick or has --only writes\n\
         files of these names into target/compare.",
        ids.join(" ")
    )
}
