//! Files with secrets: only their owner may have access. Never reads their contents.

use std::fs::File;

use super::Invalid;

/// Refuses an open file that contains `what` and that anyone but its owner can access.
pub fn refuse_if_shared(file: &File, name: &str, what: &str) -> Result<(), Invalid> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let meta = file.metadata().map_err(|e| Invalid(format!("{name}: cannot read its permissions ({e})")))?;
        // A pipe or a terminal cannot be opened by another user.
        let nameless = meta.file_type().is_fifo() || meta.file_type().is_char_device();
        if meta.mode() & 0o077 != 0 && !nameless {
            let mode = meta.mode() & 0o777;
            return Err(Invalid(format!(
                "{name}: contains {what} and others can read it (mode {mode:04o}); chmod 600 {name}"
            )));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, name, what);
    Ok(())
}
