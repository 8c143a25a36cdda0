//! Shell scripts that a program under test runs.

use std::path::Path;

use crate::program::Program;

/// Writes a shell script that can be run. By a process of its own: while this one has a file open for writing, any child
/// that another test starts has it open too, until it runs its program, and a script that is written to cannot be run.
pub fn write_script(path: &Path, text: &str) {
    let write = r##"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""##;
    Program::new("/bin/sh").arg("-c").arg(write).arg(path).arg(text).ok();
}
