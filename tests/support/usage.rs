//! What a running host costs, and what it may have, as the system tells.

use std::{fs, os::unix::fs::MetadataExt, process::Command, time::Duration};

use super::Host;

/// Processor time is counted in these (`USER_HZ`, which is 100 wherever Linux runs on what we build for).
const TICK: Duration = Duration::from_millis(10);

/// Processor time that the host has used so far, of all its threads.
pub fn cpu(host: &Host) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.pid())).unwrap();
    // Behind the name, which may hold anything but ends at the last bracket.
    let fields: Vec<_> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>().unwrap()).sum();
    TICK * ticks
}

/// Bytes of memory that the host has in use.
pub fn memory(host: &Host) -> usize {
    status(host, "VmRSS:")
}

/// The most bytes of memory that the host has ever had in use.
pub fn peak_memory(host: &Host) -> usize {
    status(host, "VmHWM:")
}

fn status(host: &Host, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// How many descriptors a process may have, soft and hard.
pub fn descriptor_limits(pid: u32) -> (usize, usize) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let limits: Vec<_> = line.split_whitespace().map(|word| word.parse().unwrap_or(usize::MAX)).collect();
    (limits[0], limits[1])
}

/// Whether we, and so the hosts that we start, are root.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Changes how many descriptors a running process may have (the soft limit); says aloud when this
/// system has no program for that.
pub fn limit_descriptors(pid: u32, limit: usize) -> bool {
    match Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}:")]).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("skipped: prlimit: {error}");
            false
        }
    }
}

/// Gives this process as many descriptors as it may have; tells how many that is.
pub fn raise_own_descriptor_limit() -> usize {
    let own = std::process::id();
    limit_descriptors(own, descriptor_limits(own).1.min(1 << 20));
    descriptor_limits(own).0
}
