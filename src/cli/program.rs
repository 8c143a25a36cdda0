//! How a program describes itself to the command line. Names no particular program.

/// A program.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The settings that it accepts: whole sections (`database`) or single keys (`broker.token`). All others are still
    /// checked in the settings file, which the programs share.
    pub takes: &'static [&'static str],
}
