//! What is to be done to files: shown as a difference, or done so that a file is there as a whole
//! or not at all, and what was there is kept.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::cli::Failure;
use crate::say;

/// A file that gets another content.
pub struct Change {
    path: PathBuf,
    old: Option<Vec<u8>>,
    new: Vec<u8>,
    /// What it is made of, if that is no text.
    copy_of: Option<PathBuf>,
}

impl Change {
    /// A text file that is new, or different.
    pub fn text(path: &Path, old: Option<&str>, new: String) -> Change {
        let old = old.map(|old| old.as_bytes().to_vec());
        Change { path: path.to_owned(), old, new: new.into_bytes(), copy_of: None }
    }

    /// A copy of another file.
    pub fn copy(from: &Path, to: &Path, old: Option<Vec<u8>>, new: Vec<u8>) -> Change {
        Change { path: to.to_owned(), old, new, copy_of: Some(from.to_owned()) }
    }

    /// Says what it would do.
    pub fn show(&self) {
        let path = self.path.display();
        if let Some(from) = &self.copy_of {
            return say::line(format_args!(
                "would copy {} ({} bytes)\n        to {path}",
                from.display(),
                self.new.len()
            ));
        }
        let (old, new) = (lossy(self.old.as_deref().unwrap_or_default()), lossy(&self.new));
        let from = if self.old.is_some() { self.path.display().to_string() } else { "/dev/null".to_owned() };
        let diff = TextDiff::from_lines(&old, &new);
        say::line(diff.unified_diff().header(&from, &path.to_string()).to_string().trim_end());
    }

    /// Does it, and says so.
    pub fn make(&self) -> Result<(), Failure> {
        let kept = match &self.old {
            Some(old) => Some(keep(&self.path, old)?),
            None => None,
        };
        self.write().map_err(|error| Failure(format!("{}: {error}", self.path.display())))?;
        let path = self.path.display();
        let kept = kept.map(|kept| format!(" (before: {})", kept.display())).unwrap_or_default();
        match &self.copy_of {
            Some(from) => say::line(format_args!("copied   {} to {path}{kept}", from.display())),
            None if self.old.is_none() => say::line(format_args!("written  {path}")),
            None => say::line(format_args!("changed  {path}{kept}")),
        }
        Ok(())
    }

    fn write(&self) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // Its name begins with a dot: Monkey would read any other file in sites/ as a site.
        let mut file = tempfile::Builder::new().prefix(".mkproxy-").tempfile_in(folder)?;
        file.write_all(&self.new)?;
        let mode = match fs::metadata(&self.path) {
            Ok(old) => {
                // Without the right to do it the file belongs to whoever changes it, as with an editor.
                let _ = chown(file.path(), Some(old.uid()), Some(old.gid()));
                old.permissions().mode()
            }
            Err(_) if self.copy_of.is_some() => 0o755,
            Err(_) => 0o644,
        };
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Writes what a file was beside it. Monkey reads no site whose name ends with `~`.
fn keep(path: &Path, old: &[u8]) -> Result<PathBuf, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = std::iter::once(format!("{name}~")).chain((1..100).map(|number| format!("{name}.{number}~")));
    for name in names {
        let kept = path.with_file_name(name);
        match fs::OpenOptions::new().write(true).create_new(true).open(&kept) {
            Ok(mut file) => {
                let mode = fs::metadata(path)?.permissions();
                file.set_permissions(mode)?;
                file.write_all(old)?;
                return Ok(kept);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if fs::read(&kept).is_ok_and(|kept| kept == old) {
                    return Ok(kept);
                }
            }
            Err(error) => return Err(Failure(format!("{}: {error}", kept.display()))),
        }
    }
    Err(Failure(format!("{}: there are a hundred older copies beside it; remove some", path.display())))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
