//! Manual pages, shell completions and the commented settings file, made from what `--help` and the settings page are made
//! from: argh's description of a program and the table of settings. Pure text; `PROGRAM --generate WHAT` prints it.

mod bash;
mod description;
mod fish;
mod man;
mod settings;
mod zsh;

use argh::ArgsInfo;

use super::Program;
use description::Description;

/// What can be printed.
pub const KINDS: &str = "man, bash, zsh, fish, settings-man or settings-file";

/// The text called `what`, one of [`KINDS`], of a program with these arguments; None: there is no such text.
pub fn text<A: ArgsInfo>(program: &Program, what: &str) -> Option<String> {
    let description = Description::of::<A>(program);
    Some(match what {
        "man" => man::page(&description),
        "bash" => bash::completion(&description),
        "zsh" => zsh::completion(&description),
        "fish" => fish::completion(&description),
        "settings-man" => settings::page(),
        "settings-file" => settings::file(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
