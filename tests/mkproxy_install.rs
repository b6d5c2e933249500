//! `mkproxy install` and `uninstall` on configuration folders as Monkey brings them, without a
//! server: what they write, what they leave alone, and what they refuse.

#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A configuration folder, one for libraries, and something that looks like the plugin.
struct Folder {
    root: TempDir,
}

impl Folder {
    fn new(family: &str) -> Folder {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder { root };
        for name in ["conf/sites", "conf/plugins", "lib"] {
            fs::create_dir_all(folder.path(name)).unwrap();
        }
        let lib = folder.path("lib").canonicalize().unwrap();
        let lib = lib.display();
        let (server, loader, site) = match family {
            "1.5" => (
                "# Monkey\n\n[SERVER]\n    # Port:\n    Port 2001\n    TransportLayer liana\n",
                format!(
                    "# Plugins\n\n[PLUGINS]\n\n    # CGI\n    #\n    # Load {lib}/monkey-cgi.so\n\n    # Transport\n    Load {lib}/monkey-liana.so\n\n    # Load {lib}/monkey-logger.so\n\n"
                ),
                "[HOST]\n    ServerName a\n    DocumentRoot /x\n",
            ),
            _ => (
                "[SERVER]\n    Listen 2001\n    Timeout 15\n",
                format!("[PLUGINS]\n    # Load {lib}/monkey-mandril.so"),
                "[HOST]\n    ServerName a\n    DocumentRoot /x\n\n[HANDLERS]\n    # FastCGI\n    # Match /.*\\.php fastcgi\n    Match /cgi-bin/.* cgi\n\n[ERROR_PAGES]\n    404 404.html\n",
            ),
        };
        fs::write(folder.path("conf/monkey.conf"), server).unwrap();
        fs::write(folder.path("conf/plugins.load"), loader).unwrap();
        fs::write(folder.path("conf/sites/default"), site).unwrap();
        fs::write(folder.path("plugin.so"), b"\x7fELF\x02\x01 mk_plugin_proxy_reverse v1").unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, command: &str, arguments: &[&str]) -> (i32, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_mkproxy"));
        program.arg(command).arg("--conf").arg(self.path("conf"));
        if command == "install" {
            program.arg("--plugin").arg(self.path("plugin.so"));
        }
        let Output { status, stdout, stderr } =
            program.args(arguments).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        (
            status.code().unwrap(),
            said.replace(&*self.root.path().canonicalize().unwrap().to_string_lossy(), ""),
        )
    }

    /// Every file below it, and what it has.
    fn everything(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => drop(files.insert(path.clone(), fs::read(path).unwrap())),
                }
            }
        }
        files
    }
}

#[test]
fn a_line_is_added_behind_the_transport_and_all_else_stays() {
    let folder = Folder::new("1.5");
    let before = folder.text("conf/plugins.load");
    fs::set_permissions(folder.path("conf/plugins.load"), fs::Permissions::from_mode(0o640)).unwrap();
    let (status, said) = folder.run("install", &[]);
    assert_eq!(status, 0, "{said}");
    let lib = folder.path("lib").canonicalize().unwrap();
    let transport = format!("    Load {}/monkey-liana.so\n", lib.display());
    let added = format!("{transport}    Load {}/monkey-proxy_reverse.so\n", lib.display());
    assert_eq!(folder.text("conf/plugins.load"), before.replace(&transport, &added));
    assert_eq!(folder.text("conf/plugins.load~"), before);
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("conf/plugins.load"), mode("conf/plugins.load~")), (0o640, 0o640));
    assert_eq!(mode("lib/monkey-proxy_reverse.so"), 0o755);
    assert!(said.contains("(before: /conf/plugins.load~)"), "{said}");
    assert!(folder.text("conf/plugins/proxy_reverse/proxy_reverse.conf").contains("Match          ^/app/"));
    assert!(said.contains("restart Monkey 1.5"), "{said}");

    let everything = folder.everything();
    let (status, said) = folder.run("install", &[]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(folder.everything(), everything, "a second run changes nothing");
    assert!(said.contains("loads it already"), "{said}");

    // Out again: what was there before is there, and what it was with the plugin is kept.
    assert_eq!(folder.run("uninstall", &[]).0, 0);
    assert_eq!(folder.text("conf/plugins.load"), before);
    assert!(folder.path("lib/monkey-proxy_reverse.so").exists());
    assert_eq!(folder.run("uninstall", &[]).0, 0);
}

#[test]
fn a_dry_run_shows_the_difference_and_changes_nothing() {
    for family in ["1.5", "1.8"] {
        let folder = Folder::new(family);
        let everything = folder.everything();
        let (status, said) = folder.run("install", &["--dry-run", "--handlers"]);
        assert_eq!(status, 0, "{said}");
        assert_eq!(folder.everything(), everything);
        assert!(said.contains("\n+    Load /lib/monkey-proxy_reverse.so\n"), "{said}");
        assert!(said.contains("would copy /plugin.so"), "{said}");
        assert!(
            said.contains("--- /dev/null\n+++ /conf/plugins/proxy_reverse/proxy_reverse.conf\n"),
            "{said}"
        );
        assert_eq!(said.contains("\n+    Match ^/app/ proxy_reverse\n"), family == "1.8", "{said}");
    }
}

#[test]
fn a_site_of_1_8_gets_its_handlers_when_asked() {
    let folder = Folder::new("1.8");
    let site = folder.text("conf/sites/default");
    let (status, said) = folder.run("install", &[]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(folder.text("conf/sites/default"), site);
    assert!(said.contains("Match ^/app/ proxy_reverse"), "{said}");
    assert!(folder.text("conf/plugins.load").contains("\n    Load "), "the last line had no end");

    let (status, said) = folder.run("install", &["--handlers"]);
    assert_eq!(status, 0, "{said}");
    let (behind, ours) = ("    Match /cgi-bin/.* cgi\n", "    Match ^/app/ proxy_reverse\n");
    let expected = site.replace(behind, &format!("{behind}{ours}"));
    assert_eq!(folder.text("conf/sites/default"), expected);
    assert_eq!(folder.text("conf/sites/default~"), site);

    // A further entry adds its line, once.
    let conf = folder.path("conf/plugins/proxy_reverse/proxy_reverse.conf");
    let more = "[PROXY_ENTRY]\n Match \\.(jpg|png)$ .*\n ServerList a\n StatisticsURL /status\n";
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + more).unwrap();
    let (_, said) = folder.run("install", &["--handlers"]);
    let lines =
        [r"\.jpg$", r"\.png$", "^/status"].map(|pattern| format!("    Match {pattern} proxy_reverse\n"));
    for line in &lines {
        assert_eq!(folder.text("conf/sites/default").matches(line.as_str()).count(), 1, "{line}");
    }
    assert!(said.contains("write a line Match for .* yourself"), "{said}");
    let everything = folder.everything();
    folder.run("install", &["--handlers"]);
    assert_eq!(folder.everything(), everything);

    assert_eq!(folder.run("uninstall", &[]).0, 0);
    assert_eq!(folder.text("conf/sites/default"), site);
}

#[test]
fn what_differs_is_not_written_over() {
    let folder = Folder::new("1.5");
    fs::write(folder.path("lib/monkey-proxy_reverse.so"), "an older one").unwrap();
    let everything = folder.everything();
    let (status, said) = folder.run("install", &[]);
    assert_eq!(status, 1);
    assert!(said.contains("another version") && said.contains("--upgrade"), "{said}");
    assert_eq!(folder.everything(), everything);
    assert_eq!(folder.run("install", &["--upgrade"]).0, 0);
    assert_eq!(folder.text("lib/monkey-proxy_reverse.so~"), "an older one");

    let folder = Folder::new("1.5");
    let loader = folder.text("conf/plugins.load") + "    Load /opt/monkey-proxy_reverse.so\n";
    fs::write(folder.path("conf/plugins.load"), loader).unwrap();
    let everything = folder.everything();
    let (status, said) = folder.run("install", &[]);
    assert_eq!(status, 1);
    assert!(said.contains("plugins.load:14 loads /opt/monkey-proxy_reverse.so already"), "{said}");
    assert_eq!(folder.everything(), everything);

    let folder = Folder::new("1.5");
    let conf = folder.path("conf/plugins/proxy_reverse/proxy_reverse.conf");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    fs::write(&conf, "[PROXY_ENTRY]\n Macth x\n").unwrap();
    let (status, said) = folder.run("install", &[]);
    assert_eq!((status, said.contains("the plugin will not start")), (1, true), "{said}");
    assert_eq!(fs::read_to_string(&conf).unwrap(), "[PROXY_ENTRY]\n Macth x\n");
}

#[test]
fn what_cannot_be_right_is_refused_with_the_remedy() {
    let folder = Folder::new("1.8");
    let everything = folder.everything();
    for (arguments, remedy) in [
        (&["--family", "1.5"][..], "write --family 1.8"),
        (&["--monkey", "/bin/false"], "write --family"),
        (&["--plugins-dir", "/x y"], "a folder without blanks"),
    ] {
        let (status, said) = folder.run("install", arguments);
        assert_eq!(status, 1);
        assert!(said.contains(remedy), "{said}");
    }
    fs::write(folder.path("plugin.so"), "something else").unwrap();
    let (status, said) = folder.run("install", &[]);
    assert_eq!((status, said.contains("is not the plugin")), (1, true), "{said}");
    fs::write(folder.path("plugin.so"), &everything[&folder.path("plugin.so")]).unwrap();
    assert_eq!(folder.everything(), everything);

    // Another configuration folder than Monkey's.
    let empty = tempfile::tempdir().unwrap();
    let output = mkproxy(&["install", "--conf", empty.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--conf names Monkey's configuration folder"));
}

#[test]
fn monkeys_own_files_are_checked_with_those_of_the_plugin() {
    let folder = Folder::new("1.8");
    let conf = folder.path("conf");
    let check = || {
        let output = mkproxy(&["check", "--strict", "--format", "json", "--conf", conf.to_str().unwrap()]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems = report["problems"].as_array().unwrap().clone();
        let told =
            problems.iter().map(|problem| (problem["code"].to_string(), problem["line"].as_u64().unwrap()));
        (output.status.code().unwrap(), told.collect::<Vec<_>>())
    };
    assert_eq!(folder.run("install", &["--handlers"]).0, 0);
    assert_eq!(check(), (0, Vec::new()));

    let text = "[PROXY_ENTRY]\n Match ^/app/ ^/new/ \\.php$\n ServerList 127.0.0.1:2001 a\n WhenAllOffline static\n\
                StatisticsURL /status\n[PROXY_ENTRY]\n Match [a-z]$\n Server localhost:2001 disabled\n Server b\n";
    fs::write(conf.join("plugins/proxy_reverse/proxy_reverse.conf"), text).unwrap();
    let code = |code: &str| format!("\"{code}\"");
    let (own, leave, handed) = (code("own-server"), code("static-in-1.8"), code("not-handed-over"));
    let expected = [(own.clone(), 3), (leave, 4), (handed.clone(), 2), (handed.clone(), 2), (handed, 5)];
    assert_eq!(check(), (3, expected.to_vec()));

    folder.run("uninstall", &[]);
    let codes: Vec<String> = check().1.into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [code("not-loaded"), own, code("static-in-1.8"), code("no-handlers")]);

    // The other family asks for every request, and can take them back.
    let folder = Folder::new("1.5");
    folder.run("install", &[]);
    let conf = folder.path("conf");
    fs::write(conf.join("plugins/proxy_reverse/proxy_reverse.conf"), text.replace("2001", "2002")).unwrap();
    assert_eq!(mkproxy(&["check", "--strict", "--conf", conf.to_str().unwrap()]).status.code(), Some(0));
}

#[test]
fn manual_pages_and_completions_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = mkproxy(&["man", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for name in ["mkproxy.1", "mkproxy-check.1", "mkproxy-install.1", "proxy_reverse.conf.5"] {
        let page = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page.contains(".SH NAME") || page.contains(".SH \"NAME\""), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = mkproxy(&["completions", shell]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("install"), "{shell}");
    }
}

#[test]
fn a_request_is_explained() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/effective/site.conf");
    let file = file.to_str().unwrap();
    let output = mkproxy(&["explain", file, "http://shop.example/shop/x?y", "--ip", "192.0.2.1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("^/shop(/|$)"), "{output:?}");
    let output = mkproxy(&["explain", "--format", "json", file, "/nowhere"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["outcome"], "not-matched");
}

fn mkproxy(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mkproxy")).args(arguments).stdin(Stdio::null()).output().unwrap()
}
