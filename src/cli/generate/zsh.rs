//! Completions for zsh.

use super::description::{Description, Flag, Values};

/// An autoloaded function, to be installed as `_PROGRAM`.
pub fn completion(program: &Description<'_>) -> String {
    let name = program.program.name;
    let mut lines = vec![
        format!("#compdef {name}"),
        format!("# made by `{name} --generate zsh`"),
        "local -a common commands".into(),
        "local context state state_descr line".into(),
        "typeset -A opt_args".into(),
        "common=(".into(),
    ];
    lines.extend(program.common_flags().iter().map(|flag| format!("  {}", spec(flag))));
    lines.push(")".into());
    if program.info.commands.is_empty() {
        lines.push("_arguments -s $common".into());
        return lines.join("\n") + "\n";
    }
    lines.push("commands=(".into());
    let item = |name: &str, about: &str| format!("  {}", quoted(&format!("{name}:{about}")));
    lines.extend(program.commands().map(|(command, _)| item(command.name, command.description)));
    lines.push(")".into());
    lines.push("_arguments -C -s $common '1:command:->command' '*::argument:->argument'".into());
    lines.push("case $state in".into());
    lines.push("  command) _describe command commands ;;".into());
    lines.push("  argument)".into());
    lines.push("    case $words[1] in".into());
    for (command, flags) in program.commands() {
        let specs: String = flags.iter().map(|flag| format!(" \\\n        {}", spec(flag))).collect();
        lines.push(format!("      {}) _arguments -s $common{specs} ;;", command.name));
    }
    lines.extend(["    esac ;;", "esac"].map(String::from));
    lines.join("\n") + "\n"
}

/// An option as `_arguments` takes it.
fn spec(flag: &Flag) -> String {
    let action = match (&flag.value, flag.values()) {
        (None, _) => String::new(),
        (Some(value), Values::Files) => format!(":{value}:_files"),
        (Some(value), Values::Words(words)) => format!(":{value}:({})", words.join(" ")),
        (Some(value), Values::Unknown) => format!(":{value}: "),
    };
    let about: String =
        flag.about.chars().flat_map(|c| (c == '[' || c == ']').then_some('\\').into_iter().chain([c])).collect();
    let repeat = if flag.may_repeat { "*" } else { "" };
    let specs = flag.names().into_iter().map(|name| quoted(&format!("{repeat}{name}[{about}]{action}")));
    specs.collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
