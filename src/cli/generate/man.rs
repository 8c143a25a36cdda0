//! Manual pages in the man(7) macros, which both mandoc and groff format.

use argh::{CommandInfoWithArgs, Optionality, PositionalInfo};

use super::description::{Description, Flag};
use crate::config::Setting;

/// The day of the newest entry of docs/CHANGELOG.md, which a test compares.
pub const DATE: &str = "2026-11-26";

/// Columns of a line of text; mandoc wants no more than 80.
const WIDTH: usize = 72;

/// The page of a program.
pub fn page(program: &Description<'_>) -> String {
    let name = program.program.name;
    let info = &program.info;
    let (first, rest) = info.description.split_once(". ").unwrap_or((info.description, ""));
    let first = first.trim_end_matches('.');
    let mut page = head(name, section(name));
    page += &format!(".SH NAME\n{}", text(&format!("{name} - {}", lower_first(first))));
    page += &format!(".SH SYNOPSIS\n{}", synopsis(name, info, &program.flags()));
    page += &format!(".SH DESCRIPTION\n{}", text(&format!("{first}. {rest}")));
    page += &info.notes.iter().map(|note| paragraph(note)).collect::<String>();
    if !info.commands.is_empty() {
        page += ".SH COMMANDS\n";
    }
    for (command, flags) in program.commands() {
        page += &format!(".SS {}\n", escaped(command.name));
        page += &synopsis(&format!("{name} {}", command.name), command, &flags);
        page += &paragraph(&format!("{}.", upper_first(command.description)));
        page += &command.positionals.iter().map(|p| item(&italic(&placeholder(p)), p.description)).collect::<String>();
        page += &options(&flags);
    }
    page += &format!(".SH OPTIONS\n{}{}", options(&program.flags()), options(&program.shared_flags()));
    page += ".SH SETTINGS\n";
    page += &text(
        "Each comes from the option, else from the environment variable, else from the settings file, else it has the default.",
    );
    page += &program.settings().map(setting).collect::<String>();
    page += &format!(".SH EXIT STATUS\n{}", exit_status(info));
    let file = item(&italic("/etc/resq/resq.toml"), "the settings, unless RESQ_CONFIG or --config names another file");
    page += &format!(".SH FILES\n{file}");
    page + &see_also(name)
}

/// The title of a page.
pub fn head(name: &str, section: u8) -> String {
    format!(".TH {} {section} {DATE} \"resq {}\" resq\n", escaped(&name.to_uppercase()), env!("CARGO_PKG_VERSION"))
}

/// The other pages.
pub fn see_also(name: &str) -> String {
    let pages =
        ["resq-client", "resq-trigger", "resqctl", "resqd", "resq.toml"].into_iter().filter(|page| *page != name);
    let pages: Vec<String> = pages.map(|page| format!(".BR {} ({})", escaped(page), section(page))).collect();
    format!(".SH SEE ALSO\n{}\n", pages.join(",\n"))
}

fn section(name: &str) -> u8 {
    match name {
        "resqd" => 8,
        "resq.toml" => 5,
        _ => 1,
    }
}

fn synopsis(call: &str, info: &CommandInfoWithArgs, flags: &[Flag]) -> String {
    let mut lines = vec![format!(".B {}", escaped(call))];
    for flag in flags {
        let usage = bold(&flag.long) + &value(flag);
        lines.push(if flag.is_required { usage } else { format!("[{usage}]") });
    }
    for positional in info.positionals {
        let is_many = matches!(positional.optionality, Optionality::Repeating | Optionality::Greedy);
        lines.push(italic(&placeholder(positional)) + if is_many { " ..." } else { "" });
    }
    if !info.commands.is_empty() {
        lines.push(format!("{} [{} ...]", italic("COMMAND"), italic("OPTION")));
    }
    lines.join("\n") + "\n"
}

fn placeholder(positional: &PositionalInfo) -> String {
    positional.name.trim_end_matches('s').to_uppercase()
}

fn options(flags: &[Flag]) -> String {
    let names = |flag: &Flag| flag.names().iter().map(|name| bold(name)).collect::<Vec<_>>().join(", ");
    flags.iter().map(|flag| item(&(names(flag) + &value(flag)), &flag.about)).collect()
}

fn value(flag: &Flag) -> String {
    flag.value.as_ref().map(|value| format!(" {}", italic(value))).unwrap_or_default()
}

/// A setting with its names, default and values.
pub fn setting(setting: &Setting) -> String {
    let usage = setting.flag_usage();
    let flag = usage.as_deref().and_then(|usage| usage.split_once(' '));
    let flag = flag.map(|(flag, value)| format!("{} {}", bold(flag), italic(value)));
    let names: Vec<String> = [bold(setting.key)].into_iter().chain(setting.env.map(bold)).chain(flag).collect();
    let default = match setting.default {
        "" => String::new(),
        default => format!(" Default: {default}."),
    };
    item(&names.join(", "), &format!("{}. Expected: {}.{default}", upper_first(setting.about), setting.expected))
}

fn exit_status(info: &CommandInfoWithArgs) -> String {
    const CODES: [(i32, &str); 5] = [
        (0, "done"),
        (1, "failed"),
        (2, "wrong usage or settings"),
        (3, "cannot reach a server, or cannot log in to it"),
        (4, "timed out"),
    ];
    let own: Vec<(i32, &str)> = info.error_codes.iter().map(|code| (code.code, code.description)).collect();
    let codes = if own.is_empty() { &CODES[..] } else { &own };
    codes.iter().map(|(code, about)| item(&bold(&code.to_string()), about)).collect()
}

/// A term and its description.
pub fn item(term: &str, about: &str) -> String {
    format!(".TP\n{term}\n{}", text(about))
}

pub fn paragraph(words: &str) -> String {
    format!(".PP\n{}", text(words))
}

/// Text in lines of less than 80 columns, of which none is taken for a request.
pub fn text(words: &str) -> String {
    filled(words, WIDTH)
        .into_iter()
        .map(|line| {
            let line = escaped(&line);
            if line.starts_with(['.', '\'']) { format!("\\&{line}\n") } else { line + "\n" }
        })
        .collect()
}

/// The words in lines of at most `width` columns; a longer word has a line of its own.
pub fn filled(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= width) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(word.into()),
        }
    }
    lines
}

/// A part of a line as roff shows it unchanged.
pub fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...")
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escaped(text))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
