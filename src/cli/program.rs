//! How a program describes itself to the command line. Names no particular program.

/// A program.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The settings that it accepts: whole sections (`database`) or single keys (`broker.token`). All others are still
    /// checked in the settings file, which the programs share.
    pub takes: &'static [&'static str],
    /// Whether it has signal handlers of its own.
    pub handles_signals: bool,
    /// The commit that it was built from; None: unknown, as in a build from a source archive.
    pub commit: Option<&'static str>,
}

impl Program {
    /// `resqd 0.1.0 (6e4ab1152)`.
    pub(super) fn version(&self) -> String {
        let commit =
            self.commit.filter(|commit| !commit.is_empty()).map(|commit| format!(" ({commit})")).unwrap_or_default();
        format!("{} {}{commit}", self.name, env!("CARGO_PKG_VERSION"))
    }
}
