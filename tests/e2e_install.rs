//! `mkproxy install` into the folders of each host, which then proxies.

#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{Backend, Conf, Kind, build, for_each_host, host::Setup, vice};

#[test]
fn an_installed_plugin_proxies() {
    for_each_host(|kind| {
        let app = Backend::start("app", vice::echo());
        let conf = Conf::new().route("^/app/", &[&app]).with_statistics();
        let host = Setup::new(kind, conf).prepare(move |conf| reinstall(kind, conf)).start();
        host.get("/app/x").expect(200);
        assert_eq!(app.seen().len(), 1);
        assert_eq!(host.statistics()["routes"][0]["requests"], 1);
        // What nothing hands over is none of the plugin's business.
        host.get("/page.html").expect(200);
    });
}

/// What only the tool needs stays out of the server's memory.
#[test]
fn the_plugin_has_nothing_of_the_tool() {
    let holds = |file: &Path, crate_name: &str| {
        let bytes = fs::read(file).unwrap();
        memchr::memmem::find(&bytes, crate_name.as_bytes()).is_some()
    };
    for crate_name in ["clap_builder", "crossterm", "annotate_snippets", "clap_mangen"] {
        assert!(!holds(&build::plugin(), crate_name), "{crate_name}");
        assert!(holds(Path::new(env!("CARGO_BIN_EXE_mkproxy")), crate_name), "{crate_name}");
    }
}

/// Makes the folder one that has never seen the plugin, but for its configuration, and installs.
fn reinstall(kind: Kind, conf: &Path) {
    let (loader, site) = (conf.join("plugins.load"), conf.join("sites/default"));
    let own = |name: &str| fs::read_to_string(conf.join(name)).unwrap();
    fs::write(&loader, without(&own("plugins.load"), "proxy_reverse")).unwrap();
    fs::write(&site, without(&own("sites/default"), "proxy_reverse").replace("[HANDLERS]\n", "")).unwrap();
    if let Some(theirs) = kind.binary().map(|binary| binary.parent().unwrap().join("../conf")) {
        // Their own files as they come with the server, with all their comments.
        if let Ok(text) = fs::read_to_string(theirs.join("plugins.load")) {
            fs::write(&loader, text).unwrap();
        }
        if let Ok(text) = fs::read_to_string(theirs.join("sites/default")) {
            fs::write(&site, with_folders_of(&text, &own("sites/default"))).unwrap();
        }
    }
    let library = conf.join("../lib");
    let arguments = ["--plugins-dir", library.to_str().unwrap(), "--handlers"];
    let output = install(conf, &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let files = [&loader, &site].map(|file| fs::read(file).unwrap());
    let again = install(conf, &arguments);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(files, [&loader, &site].map(|file| fs::read(file).unwrap()));
    assert!(!String::from_utf8_lossy(&again.stdout).contains("changed"), "{again:?}");
}

fn without(text: &str, word: &str) -> String {
    text.lines().filter(|line| !line.contains(word)).map(|line| line.to_owned() + "\n").collect()
}

/// The site file with the folders of another one.
fn with_folders_of(text: &str, other: &str) -> String {
    let value = |key: &str| {
        other.lines().find_map(|line| line.trim().strip_prefix(key)).map(|value| value.trim().to_owned())
    };
    let mut out = String::new();
    for line in text.lines() {
        let key = line.trim().split(' ').next().unwrap();
        match value(key).filter(|_| ["DocumentRoot", "AccessLog", "ErrorLog"].contains(&key)) {
            Some(value) => out += &format!("    {key} {value}\n"),
            None => out += &format!("{line}\n"),
        }
    }
    out
}

fn install(conf: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkproxy"));
    command.arg("install").arg("--conf").arg(conf).arg("--plugin").arg(build::plugin()).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}
