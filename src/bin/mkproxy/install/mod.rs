//! `mkproxy install` and `mkproxy uninstall`: the plugin into Monkey's folders, and out again.
//!
//! All that is to be done is found out first, so that nothing is half done when something stands
//! in the way. Nothing that is there and different is written over.

mod changes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use monkey_proxy_reverse::config;

use crate::cli::{Failure, FamilyChoice, Install, Status, Uninstall};
use crate::handlers;
use crate::monkey::{self, Entry, Family, File, first_word};
use crate::say;
use changes::Change;

/// Monkey's configuration folder, as far as it matters here.
struct Tree {
    folder: PathBuf,
    loader: File,
    server: File,
}

impl Tree {
    fn read(folder: &Path) -> Result<Tree, Failure> {
        let folder =
            folder.canonicalize().map_err(|error| Failure(format!("{}: {error}", folder.display())))?;
        let file = |name: &str| {
            let path = folder.join(name);
            let missing = || {
                Failure(format!(
                    "{} is not there; --conf names Monkey's configuration folder, such as /etc/monkey",
                    path.display()
                ))
            };
            File::read(&path)?.ok_or_else(missing)
        };
        Ok(Tree { loader: file("plugins.load")?, server: file("monkey.conf")?, folder: folder.clone() })
    }

    fn proxy_conf(&self) -> PathBuf {
        self.folder.join("plugins/proxy_reverse/proxy_reverse.conf")
    }

    /// The lines that load us.
    fn loads(&self) -> Vec<Entry> {
        let loads = self.loader.values("PLUGINS", "Load");
        loads.into_iter().filter(|load| load.value.rsplit('/').next() == Some(FILE_NAME)).collect()
    }
}

/// Installs, or shows what it would do.
pub fn run(command: &Install) -> Result<Status, Failure> {
    let tree = Tree::read(&command.conf)?;
    let family = family(command, &tree)?;
    let plugin = find_plugin(command.plugin.as_deref())?;
    let target = target(command, &tree)?;
    let mut changes = Vec::new();
    let mut notes = Vec::new();

    match fs::read(&target) {
        Ok(old) if old == plugin.bytes => notes.push(format!("{} is there already", target.display())),
        Ok(old) if command.upgrade => {
            changes.push(Change::copy(&plugin.path, &target, Some(old), plugin.bytes))
        }
        Ok(_) => {
            let path = target.display();
            return Err(Failure(format!(
                "{path} is another version of the plugin; write --upgrade to replace it, or move it away"
            )));
        }
        Err(_) => changes.push(Change::copy(&plugin.path, &target, None, plugin.bytes)),
    }

    let wanted = target.display().to_string();
    match &tree.loads()[..] {
        [] => {
            let text = tree.loader.with("PLUGINS", "Load", std::slice::from_ref(&wanted))?;
            changes.push(Change::text(&tree.loader.path, Some(&tree.loader.text), text));
        }
        [load] if resolved(Path::new(&load.value)) == resolved(&target) => {
            notes.push(format!("{}:{} loads it already", tree.loader.path.display(), load.line));
        }
        [load, ..] => {
            let (path, line) = (tree.loader.path.display(), load.line);
            return Err(Failure(format!(
                "{path}:{line} loads {} already; write --plugins-dir with its folder, or remove that line",
                load.value
            )));
        }
    }

    let conf = tree.proxy_conf();
    let text = match fs::read(&conf) {
        Ok(text) => {
            notes.push(format!("{} is there already", conf.display()));
            text
        }
        Err(_) => {
            changes.push(Change::text(&conf, None, SAMPLE.to_owned()));
            SAMPLE.as_bytes().to_vec()
        }
    };
    if family == Family::Modern {
        handlers(command, &tree, &text, &mut changes, &mut notes)?;
    }
    carry_out(&changes, command.dry_run)?;
    for note in notes {
        say::line(format_args!("kept     {note}"));
    }
    Ok(closing_words(command, &conf, &text, family))
}

/// Takes out what `install` has put into Monkey's files.
pub fn uninstall(command: &Uninstall) -> Result<Status, Failure> {
    let tree = Tree::read(&command.conf)?;
    let mut changes = Vec::new();
    let loads = tree.loads();
    let without = |file: &File, entries: &[Entry]| {
        let lines: Vec<usize> = entries.iter().map(|entry| entry.line).collect();
        Change::text(&file.path, Some(&file.text), file.without(&lines))
    };
    if !loads.is_empty() {
        changes.push(without(&tree.loader, &loads));
    }
    for site in handlers::sites(&tree.folder)? {
        let ours = handlers::ours(&site);
        if !ours.is_empty() {
            changes.push(without(&site, &ours));
        }
    }
    if changes.is_empty() {
        say::line("nothing in Monkey's files names the plugin");
    }
    carry_out(&changes, command.dry_run)?;
    for file in loads.iter().map(|load| load.value.clone()).chain([tree.proxy_conf().display().to_string()]) {
        if Path::new(&file).exists() {
            say::line(format_args!("kept     {file}; remove it when you need it no more"));
        }
    }
    Ok(Status::Well)
}

fn carry_out(changes: &[Change], is_dry_run: bool) -> Result<(), Failure> {
    for change in changes {
        if is_dry_run {
            change.show();
        } else {
            change.make()?;
        }
    }
    Ok(())
}

fn closing_words(command: &Install, conf: &Path, text: &[u8], family: Family) -> Status {
    let read = config::from_text(conf, text, &|name| std::env::var(name).ok());
    if let Err(errors) = &read {
        let count = errors.iter().filter(|error| !error.is_warning()).count();
        say::line(format_args!(
            "         {} has {count} mistakes, the plugin will not start; see 'mkproxy check {}'",
            conf.display(),
            conf.display()
        ));
        return Status::Failed;
    }
    if !command.dry_run {
        let (conf, folder) = (conf.display(), command.conf.display());
        say::line(format_args!(
            "next     edit {conf}, try 'mkproxy check --conf {folder}', restart Monkey {family}"
        ));
    }
    Status::Well
}

fn family(command: &Install, tree: &Tree) -> Result<Family, Failure> {
    let by_binary = match &command.monkey {
        None => None,
        Some(binary) => {
            let named = |reason: String| Failure(format!("{}: {reason}", binary.display()));
            let output = Command::new(binary).arg("-v").output().map_err(|error| named(error.to_string()))?;
            Some(monkey::family_of_version(&String::from_utf8_lossy(&output.stdout)).map_err(named)?)
        }
    };
    let asked = match command.family {
        FamilyChoice::Auto => None,
        FamilyChoice::Legacy => Some(Family::Legacy),
        FamilyChoice::Modern => Some(Family::Modern),
    };
    let by_files = monkey::family_of(&tree.server, &tree.loader);
    let found =
        [by_binary, by_files].into_iter().flatten().find(|found| asked.is_some_and(|asked| asked != *found));
    match (asked, found, by_binary, by_files) {
        (Some(asked), Some(found), ..) => Err(Failure(format!(
            "--family {asked} was asked for, but this is a Monkey {found}; write --family {found}"
        ))),
        (Some(asked), None, ..) => Ok(asked),
        (None, _, Some(binary), Some(files)) if binary != files => Err(Failure(format!(
            "the binary is a Monkey {binary}, and {} is written for {files}; name the folder that belongs to it",
            tree.server.path.display()
        ))),
        (None, _, binary, files) => binary.or(files).ok_or_else(|| {
            Failure(format!(
                "{} does not tell which Monkey it is for; write --family 1.5 or --family 1.8",
                tree.server.path.display()
            ))
        }),
    }
}

struct Plugin {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// The library: the one that is named, or one beside this program.
fn find_plugin(named: Option<&Path>) -> Result<Plugin, Failure> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|folder| {
        [
            folder.join(FILE_NAME),
            folder.join("libmonkey_proxy_reverse.so"),
            folder.join("../lib/monkey").join(FILE_NAME),
        ]
    });
    let candidates: Vec<PathBuf> = match named {
        Some(path) => vec![path.to_owned()],
        None => beside.into_iter().flatten().collect(),
    };
    let path = candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Failure("there is no plugin to install; name its file with --plugin".to_owned()))?;
    let bytes = fs::read(&path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    let holds = |text: &[u8]| memchr::memmem::find(&bytes, text).is_some();
    if !bytes.starts_with(b"\x7fELF\x02") || !holds(b"mk_plugin_proxy_reverse") {
        return Err(Failure(format!(
            "{} is not the plugin; build it with 'cargo build --release'",
            path.display()
        )));
    }
    Ok(Plugin { path, bytes })
}

/// Where the library goes: beside those of other plugins.
fn target(command: &Install, tree: &Tree) -> Result<PathBuf, Failure> {
    let folder = match &command.plugins_dir {
        Some(folder) => folder.clone(),
        None => plugins_folder(tree).ok_or_else(|| {
            Failure(format!(
                "{} names no folder of plugins that is there; write --plugins-dir",
                tree.loader.path.display()
            ))
        })?,
    };
    let target = resolved(&std::path::absolute(&folder)?).join(FILE_NAME);
    let length = target.as_os_str().len();
    if length > PATH_MAX || target.to_str().is_none_or(|path| path.contains(char::is_whitespace)) {
        return Err(Failure(format!(
            "Monkey reads no path such as {}; take a folder without blanks and with at most {PATH_MAX} characters",
            target.display()
        )));
    }
    Ok(target)
}

/// The path without links and dots, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolved(parent).join(name),
        _ => path.to_owned(),
    })
}

fn plugins_folder(tree: &Tree) -> Option<PathBuf> {
    let loads = tree.loader.values("PLUGINS", "Load").into_iter().map(|load| load.value);
    let folders = loads.chain(tree.loader.commented("Load")).filter_map(|path| {
        let path = Path::new(first_word(&path));
        let name = path.file_name()?.to_str()?.strip_prefix("monkey-")?.strip_suffix(".so")?;
        let folder = path.parent()?;
        if name == "proxy_reverse" {
            return Some(folder.to_owned());
        }
        // Where Monkey was built and not installed, each plugin has a folder of its own.
        let own = folder.file_name().is_some_and(|folder| folder == name);
        Some(if own { folder.parent()?.join("proxy_reverse") } else { folder.to_owned() })
    });
    let mut is_there = folders.filter(|folder| {
        folder.is_absolute()
            && (folder.is_dir() || folder.parent().is_some_and(|parent| parent.join("liana").is_dir()))
    });
    is_there.next()
}

/// What Monkey 1.8 needs in its site files.
fn handlers(
    command: &Install,
    tree: &Tree,
    text: &[u8],
    changes: &mut Vec<Change>,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let path = tree.folder.join("sites/default");
    let Some(site) = File::read(&path)? else {
        return Err(Failure(format!(
            "{} is not there; is this Monkey's configuration folder?",
            path.display()
        )));
    };
    let Ok(config) = config::from_text(&tree.proxy_conf(), text, &|name| std::env::var(name).ok()) else {
        notes.push(format!("{}, since the proxy's file has mistakes", path.display()));
        return Ok(());
    };
    let wanted = handlers::wanted(&config);
    let ours = handlers::ours(&site);
    let is_there = |pattern: &String| ours.iter().any(|entry| first_word(&entry.value) == pattern);
    let missing: Vec<String> = wanted.patterns.iter().filter(|pattern| !is_there(pattern)).cloned().collect();
    for pattern in &wanted.untold {
        notes.push(format!(
            "{}: write a line Match for {pattern} yourself, Monkey's patterns know no such thing",
            path.display()
        ));
    }
    if missing.is_empty() {
        notes.push(format!("{} hands everything over already", path.display()));
        return Ok(());
    }
    let values: Vec<String> = missing.iter().map(|pattern| format!("{pattern} proxy_reverse")).collect();
    if command.handlers {
        changes.push(Change::text(&path, Some(&site.text), site.with("HANDLERS", "Match", &values)?));
    } else {
        let lines: String = values.iter().map(|value| format!("\n             Match {value}")).collect();
        notes.push(format!(
            "{}; Monkey 1.8 hands over what [HANDLERS] there says, add these lines or run with --handlers:{lines}",
            path.display()
        ));
    }
    Ok(())
}

/// The name under which Monkey finds the plugin's symbols.
const FILE_NAME: &str = "monkey-proxy_reverse.so";

/// A line of Monkey 1.5 has 254 characters at most, indentation and key included.
const PATH_MAX: usize = 200;

const SAMPLE: &str = include_str!("sample.conf");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_in_order() {
        let config = config::from_text(Path::new("sample.conf"), SAMPLE.as_bytes(), &|_| None).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        // With all that is commented out it is one as well.
        let all =
            SAMPLE.replace("# [", "[").replace("#     ", "    ").replace("# StatisticsURL", "StatisticsURL");
        let config = config::from_text(Path::new("sample.conf"), all.as_bytes(), &|_| None).unwrap();
        assert_eq!((config.entries.len(), config.warnings.len()), (3, 0), "{:?}", config.warnings);
    }
}
