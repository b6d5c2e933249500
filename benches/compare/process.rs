//! Programs that run beside us: started, looked at through `/proc`, and ended by their id.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::support::within;

/// A program with a folder of its own; both are gone when this is dropped.
pub struct Program {
    child: Child,
    folder: TempDir,
}

impl Program {
    /// Starts it; what it says goes into `output` of its folder.
    pub fn start(mut command: Command, folder: TempDir) -> Result<Program, String> {
        let output = fs::File::create(folder.path().join("output")).map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = child.map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        Ok(Program { child, folder })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended by itself; what it said then.
    pub fn died(&mut self) -> Option<String> {
        self.child.try_wait().unwrap()?;
        Some(fs::read_to_string(self.folder.path().join("output")).unwrap_or_default())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let all = family(self.pid());
        signal(self.pid(), Signal::TERM);
        if !within(Duration::from_secs(5), || self.child.try_wait().is_ok_and(|end| end.is_some())) {
            all.into_iter().for_each(|pid| signal(pid, Signal::KILL));
            let _ = self.child.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A process and all that come from it.
fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?.get(1)?.parse().ok()?))
        })
        .collect();
    let mut all = vec![root];
    let mut at = 0;
    while let Some(&parent) = all.get(at) {
        all.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    all
}

/// Processor time of a process and all that come from it, of all their threads, in microseconds.
pub fn cpu_us(root: u32) -> u64 {
    let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second();
    let ticks = |pid| {
        let fields = stat(pid)?;
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    family(root).into_iter().filter_map(ticks).sum::<u64>() * tick_us
}

/// The fields of `/proc/PID/stat` behind the name, which may have spaces: the state is the first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    Some(behind.split_whitespace().map(str::to_owned).collect())
}

/// Memory of a process and all that come from it, in KB: all that is resident of the first, and
/// of the others what they have for themselves.
pub fn resident_kb(root: u32) -> u64 {
    let part = |pid: u32, names: &[&str]| -> u64 {
        let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup"));
        let text = text.unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let wanted = lines.filter(|(name, _)| names.contains(name));
        wanted.filter_map(|(_, value)| value.split_whitespace().next()?.parse::<u64>().ok()).sum()
    };
    let all = family(root);
    let children = all.iter().skip(1).map(|&pid| part(pid, &["Private_Clean", "Private_Dirty"]));
    part(root, &["Rss"]) + children.sum::<u64>()
}
