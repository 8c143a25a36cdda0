//! What tells one program from another. Knows no program.

/// A program.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The settings that it takes: whole sections (`database`) or single keys (`broker.token`). All others are still
    /// checked in the settings file, which the programs share.
    pub takes: &'static [&'static str],
}
