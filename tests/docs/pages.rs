//! The pages for people, and what is taken out of them to be compared with the code.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::reference;

/// One page.
pub struct Page {
    /// Its name, from the folder of the project on.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// All pages of the project: those in its folder, and those below docs/.
pub fn all() -> Vec<Page> {
    let mut pages = Vec::new();
    gather(&project(), false, &mut pages);
    gather(&project().join("docs"), true, &mut pages);
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(pages.len() > 8, "the pages are found");
    pages
}

impl Page {
    /// The page of that name.
    pub fn read(name: &str) -> Page {
        static BLESSED: Once = Once::new();
        BLESSED.call_once(bless);
        let text = fs::read_to_string(project().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Page { name: name.to_owned(), text }
    }

    /// The blocks that are marked as being of that language.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            let indent = line.len() - line.trim_start().len();
            let Some(marked) = line.trim_start().strip_prefix("```") else { continue };
            let block: Vec<&str> = lines
                .by_ref()
                .take_while(|line| line.trim() != "```")
                .map(|line| line.get(indent..).unwrap_or_default())
                .collect();
            if marked == language {
                blocks.push(block.join("\n"));
            }
        }
        blocks
    }

    /// The lines that are no part of a block.
    pub fn prose(&self) -> Vec<&str> {
        let mut in_block = false;
        let is_prose = |line: &&str| {
            let fence = line.trim_start().starts_with("```");
            in_block ^= fence;
            !in_block && !fence
        };
        self.text.lines().filter(is_prose).collect()
    }

    /// What stands between backquotes, outside of blocks.
    pub fn names(&self) -> Vec<&str> {
        self.prose().into_iter().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
    }

    /// Where the page leads to, outside of blocks.
    pub fn links(&self) -> Vec<&str> {
        self.prose()
            .into_iter()
            .flat_map(|line| line.split("](").skip(1))
            .filter_map(|rest| rest.split(')').next())
            .collect()
    }

    /// What a link may name behind `#`.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().into_iter().filter(|line| line.starts_with('#'));
        headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
    }

    /// The file that a link of this page leads to.
    pub fn target(&self, link: &str) -> PathBuf {
        let page = project().join(&self.name);
        match link {
            "" => page,
            link => page.parent().unwrap_or(&page).join(link),
        }
    }
}

/// Writes what pages take from the sources, before any of them is looked at.
fn bless() {
    if std::env::var_os("MPR_BLESS").is_some() {
        let path = project().join(reference::PAGE);
        let page = fs::read_to_string(&path).expect("the reference can be read");
        fs::write(&path, reference::renewed(&page)).expect("the reference can be written");
    }
}

/// The folder of the project.
pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// As the sites that show such pages make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn gather(folder: &Path, below: bool, pages: &mut Vec<Page>) {
    for entry in fs::read_dir(folder).expect("a folder of pages").flatten() {
        let path = entry.path();
        if below && path.is_dir() {
            gather(&path, below, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.strip_prefix(project()).expect("below the project").display().to_string();
            pages.push(Page::read(&name));
        }
    }
}
