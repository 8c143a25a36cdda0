//! `scripts/install.sh` into a temporary folder: what it copies runs there, and uninstalling removes exactly that.

use std::fs;
use std::path::{Path, PathBuf};

use resq_test_support::Program;
use tempfile::TempDir;

/// A folder with resq in its `usr/local`, and one with the programs as the script expects them to be built.
pub struct Installed(TempDir, TempDir);

/// A folder for `CARGO_TARGET_DIR`, with the programs under test as its release.
pub fn built() -> TempDir {
    let built = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_resqd")).parent().unwrap();
    std::os::unix::fs::symlink(programs, built.path().join("release")).unwrap();
    built
}

impl Installed {
    pub fn new() -> Installed {
        let installed = Installed(tempfile::tempdir().unwrap(), built());
        installed.script("install").ok();
        installed
    }

    /// A path below the prefix.
    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join("usr/local").join(below)
    }

    fn script(&self, verb: &str) -> Program {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install.sh");
        Program::new(script).arg(verb).env("DESTDIR", self.0.path()).env("CARGO_TARGET_DIR", self.1.path())
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    files.push(entry.path().strip_prefix(self.path("")).unwrap().display().to_string());
                }
            }
        }
        files.sort();
        files
    }
}

#[test]
fn installed_programs_run() {
    let installed = Installed::new();
    for program in ["resqd", "resqctl", "resq-client", "resq-trigger"] {
        let version = Program::new(installed.path(&format!("bin/{program}"))).arg("--version").ok();
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{program} --version: {version}");
    }
}

#[test]
fn installed_unit_starts_the_installed_daemon() {
    let unit = fs::read_to_string(Installed::new().path("lib/systemd/system/resqd.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/local/bin/resqd -v\n"), "{unit}");
    assert!(!unit.contains("@PREFIX@"), "{unit}");
}

#[test]
fn manual_pages_and_completions_are_installed() {
    let files = Installed::new().files();
    for page in [
        "share/man/man8/resqd.8",
        "share/man/man1/resqctl.1",
        "share/man/man1/resq-client.1",
        "share/man/man1/resq-trigger.1",
        "share/man/man5/resq.toml.5",
        "share/bash-completion/completions/resqctl",
        "share/zsh/site-functions/_resq-client",
        "share/fish/vendor_completions.d/resqd.fish",
    ] {
        assert!(files.iter().any(|file| file == page), "{page} is not among {files:#?}");
    }
}

#[test]
fn uninstall_removes_what_was_installed_and_nothing_else() {
    let installed = Installed::new();
    assert!(installed.files().iter().any(|file| file == "libexec/resq/seed.sh"));
    let foreign = ["bin/other", "lib/resq/resq_udf.conf", "lib/systemd/system/other.service"];
    for file in foreign {
        fs::create_dir_all(installed.path(file).parent().unwrap()).unwrap();
        fs::write(installed.path(file), "not ours").unwrap();
    }
    installed.script("uninstall").ok();
    assert_eq!(installed.files(), foreign);
    assert!(!installed.path("libexec/resq").exists(), "an empty folder of resq's is left");
    installed.script("uninstall").ok();
}
