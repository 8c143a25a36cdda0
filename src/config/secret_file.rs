//! Files with secrets: who else may have access to them, and how a secret is read from one. Never shows what it read.

use std::{fs::File, io::Read, path::Path};

use super::{Invalid, value::SECRET_BYTES};
use crate::base::text::printable;

/// A secret, as its file contains it.
pub struct Found {
    /// The file's text without one final line end.
    pub secret: String,
    /// Whether every user of the machine can read the file.
    pub is_public: bool,
}

/// Reads the secret in the file at `path`; `place` is what named it, for messages. Files that others can access are refused
/// unless `may_be_shared`: an orchestrator mounts secrets with the modes 0440, 0444 or 0644.
pub fn read(path: &Path, place: &str, may_be_shared: bool) -> Result<Found, Invalid> {
    let name = printable(&path.to_string_lossy()).into_owned();
    let cannot = |e| Invalid(format!("{place}: cannot read {name} ({e}); expected a file that contains the secret"));
    let file = File::open(path).map_err(cannot)?;
    if !may_be_shared {
        refuse_if_shared(&file, &name, "a token")?;
    }
    let is_public = open_to(&file, 0o007).map_err(cannot)?.is_some();
    let mut secret = String::new();
    // One more than what is accepted with a line end, so that a longer one is refused and not cut.
    file.take(SECRET_BYTES as u64 + 3).read_to_string(&mut secret).map_err(cannot)?;
    if let Some(line) = secret.strip_suffix('\n') {
        secret.truncate(line.strip_suffix('\r').unwrap_or(line).len());
    }
    Ok(Found { secret, is_public })
}

/// Refuses an open file that contains `what` and that anyone but its owner can access. The group may read a file of root's
/// that was given to a group: mode 0640, as packages install settings with secrets.
pub fn refuse_if_shared(file: &File, name: &str, what: &str) -> Result<(), Invalid> {
    let unknown = |e| Invalid(format!("{name}: cannot read its permissions ({e})"));
    let private = if belongs_to_a_group_of_root(file).map_err(unknown)? { 0o037 } else { 0o077 };
    match open_to(file, private).map_err(unknown)? {
        None => Ok(()),
        Some(mode) => {
            Err(Invalid(format!("{name}: contains {what} and others can read it (mode {mode:04o}); chmod 600 {name}")))
        }
    }
}

/// The file's mode, if it has one of `bits`.
#[cfg(unix)]
fn open_to(file: &File, bits: u32) -> std::io::Result<Option<u32>> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let meta = file.metadata()?;
    // A pipe or a terminal cannot be opened by another user.
    let nameless = meta.file_type().is_fifo() || meta.file_type().is_char_device();
    let mode = meta.mode() & 0o777;
    Ok((mode & bits != 0 && !nameless).then_some(mode))
}

#[cfg(unix)]
fn belongs_to_a_group_of_root(file: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let meta = file.metadata()?;
    Ok(meta.uid() == 0 && meta.gid() != 0)
}

#[cfg(not(unix))]
fn open_to(_: &File, _: u32) -> std::io::Result<Option<u32>> {
    Ok(None)
}

#[cfg(not(unix))]
fn belongs_to_a_group_of_root(_: &File) -> std::io::Result<bool> {
    Ok(false)
}
