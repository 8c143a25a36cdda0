//! Completions for fish.

use super::description::{Description, Flag, Values};

/// One `complete` per subcommand and option.
pub fn completion(program: &Description<'_>) -> String {
    let name = program.program.name;
    let mut lines = vec![format!("# made by `{name} --generate fish`"), format!("complete -c {name} -f")];
    for (command, flags) in program.commands() {
        lines.push(format!(
            "complete -c {name} -n __fish_use_subcommand -a {} -d {}",
            command.name,
            quoted(command.description)
        ));
        let only = format!(" -n '__fish_seen_subcommand_from {}'", command.name);
        lines.extend(flags.iter().map(|flag| option(name, &only, flag)));
    }
    lines.extend(program.common_flags().iter().map(|flag| option(name, "", flag)));
    lines.join("\n") + "\n"
}

fn option(name: &str, condition: &str, flag: &Flag) -> String {
    let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
    let value = match (&flag.value, flag.values()) {
        (None, _) => String::new(),
        (Some(_), Values::Files) => " -r -F".into(),
        (Some(_), Values::Words(words)) => format!(" -x -a '{}'", words.join(" ")),
        (Some(_), Values::Unknown) => " -x".into(),
    };
    let long = flag.long.trim_start_matches("--");
    format!("complete -c {name}{condition}{short} -l {long}{value} -d {}", quoted(&flag.about))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
