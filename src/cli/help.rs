//! The text of `--help`: argh's text, then the options that all programs share, then the settings that this program
//! accepts. Never prints.

use argh::FromArgs;

use super::Program;
use crate::config::{SETTINGS, Setting, taken};

/// The options of all programs: long name, short name, placeholder of the value, meaning.
pub const SHARED: [(&str, Option<char>, Option<&str>, &str); 6] = [
    ("--config", None, Some("FILE"), "settings file to read instead of RESQ_CONFIG or /etc/resq/resq.toml"),
    ("--verbose", Some('v'), None, "also log information; twice: also debug messages"),
    ("--log-file", None, Some("FILE"), "log to this file in addition to standard error"),
    (
        "--generate",
        None,
        Some("WHAT"),
        "print a manual page or completions: man, bash, zsh, fish, settings-man or settings-file",
    ),
    ("--help", Some('h'), None, "print the help and exit"),
    ("--version", Some('V'), None, "print the version and exit"),
];

/// The help of the program or of one of its subcommands.
pub fn text<A: FromArgs>(program: &Program, subcommand: Option<&str>) -> String {
    let args: Vec<&str> = subcommand.into_iter().chain(["--help"]).collect();
    let own = match A::from_args(&[program.name], &args) {
        Err(exit) => exit.output,
        Ok(_) => String::new(), // argh's own --help is switched off for this program
    };
    let shared = SHARED.iter().filter(|(long, ..)| *long != "--help").map(|(long, short, value, about)| {
        let short = short.map(|short| format!("-{short}, ")).unwrap_or_default();
        let value = value.map(|value| format!(" {value}")).unwrap_or_default();
        format!("  {:<17} {about}\n", format!("{short}{long}{value}"))
    });
    let shared = shared.collect::<String>();
    let settings: String = SETTINGS.iter().filter(|s| taken(s, program.takes)).map(entry).collect();
    let heading =
        "\nSettings, from the flag, else the environment variable, else the settings file, else the [default]:\n";
    format!(
        "{}\n\nOptions of all resq programs:\n{shared}{}{settings}",
        own.trim_end(),
        if settings.is_empty() { "" } else { heading }
    )
}

fn entry(setting: &Setting) -> String {
    let flag = setting.flag_usage();
    let names: Vec<&str> = flag.as_deref().into_iter().chain(setting.env).chain([setting.key]).collect();
    let default = if setting.default.is_empty() { String::new() } else { format!(" [{}]", setting.default) };
    format!("  {}\n        {}{default}\n", names.join(", "), setting.about)
}
