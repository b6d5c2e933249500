//! The commands that pages show: what they start must be there.

use std::process::Command;

use super::pages::{Page, project};

/// The lines that a page shows as typed, joined where they are continued.
pub fn typed(page: &Page) -> Vec<String> {
    let mut commands = Vec::new();
    for block in page.blocks("console") {
        let mut lines = block.lines();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("$ ") else { continue };
            let mut command = command.to_owned();
            while command.ends_with(['\\', '|']) {
                command = format!("{} {}", command.trim_end_matches('\\'), lines.next().unwrap_or_default());
            }
            commands.push(command);
        }
    }
    commands
}

/// What is wrong with a command, as far as that can be told without running it.
pub fn problem(command: &str) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let program = words.iter().position(|word| !word.contains('=') && *word != "sudo")?;
    let arguments = &words[program + 1..];
    match words[program].trim_start_matches("target/release/") {
        "cargo" => cargo_problem(arguments),
        "mkproxy" => mkproxy_problem(arguments),
        script if script.starts_with("packaging/") || script.starts_with(".ci/") => {
            (!project().join(script).exists()).then(|| format!("there is no {script}"))
        }
        _ => None,
    }
}

fn cargo_problem(arguments: &[&str]) -> Option<String> {
    let known = ["bench", "build", "clippy", "doc", "fmt", "fuzz", "install", "run", "test"];
    let command = arguments.iter().find(|argument| !argument.starts_with('+'))?;
    if !known.contains(command) {
        return Some(format!("cargo {command}"));
    }
    let target = |flag: &str| arguments.iter().position(|a| *a == flag).map(|at| arguments[at + 1]);
    for (flag, folder) in [("--example", "examples"), ("--test", "tests"), ("--bench", "benches")] {
        if let Some(name) = target(flag) {
            let places = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/main.rs")];
            if !places.iter().any(|place| project().join(place).exists()) {
                return Some(format!("there is no {flag} {name}"));
            }
        }
    }
    None
}

/// Asks the tool itself, if it was built, whether it knows command and options.
fn mkproxy_problem(arguments: &[&str]) -> Option<String> {
    let tool = option_env!("CARGO_BIN_EXE_mkproxy")?;
    let command = arguments.first().filter(|argument| !argument.starts_with('-'));
    let output = Command::new(tool).args(command).arg("--help").output().expect("the tool starts");
    if !output.status.success() {
        return Some(format!("mkproxy knows no '{}'", command.unwrap_or(&"")));
    }
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let options = arguments.iter().take_while(|argument| **argument != "|");
    let unknown = options.filter(|a| a.starts_with("--")).find(|a| {
        let name = a.split('=').next().unwrap_or_default();
        !help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| word == name)
    });
    unknown.map(|option| format!("mkproxy {} knows no {option}", command.unwrap_or(&"")))
}
