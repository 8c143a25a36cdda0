//! Completions for bash.

use super::description::{Description, Flag, Values};

/// The function and the call that registers it.
pub fn completion(program: &Description<'_>) -> String {
    let name = program.program.name;
    let common = program.common_flags();
    let commands: Vec<_> = program.commands().collect();
    let names: Vec<&str> = commands.iter().map(|(command, _)| command.name).collect();
    let all: Vec<&Flag> = common.iter().chain(commands.iter().flat_map(|(_, flags)| flags)).collect();
    let mut lines = vec![
        format!("# bash completion for {name}, made by `{name} --generate bash`"),
        format!("_{}() {{", name.replace('-', "_")),
        "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= word words=".into(),
    ];
    lines.extend(values(&all));
    if names.is_empty() {
        lines.push(format!("  words='{}'", options(&common)));
    } else {
        lines.push("  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do".into());
        lines.push(format!("    case $word in {}) command=$word; break ;; esac", names.join(" | ")));
        lines.push("  done".into());
        lines.push("  case $command in".into());
        lines.push(format!("    '') words='{}' ;;", names.join(" ")));
        let own = commands.iter().filter(|(_, flags)| !flags.is_empty());
        lines.extend(own.map(|(command, flags)| format!("    {}) words='{}' ;;", command.name, options(flags))));
        lines.push("  esac".into());
        lines.push(format!("  [[ $cur != -* ]] || words+=' {}'", options(&common)));
    }
    lines.push("  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")".into());
    lines.push("}".into());
    lines.push(format!("complete -F _{} {name}", name.replace('-', "_")));
    lines.join("\n") + "\n"
}

fn options(flags: &[Flag]) -> String {
    flags.iter().map(|flag| flag.long.as_str()).collect::<Vec<_>>().join(" ")
}

/// The completion of a value, by the option before it.
fn values(flags: &[&Flag]) -> Vec<String> {
    let (mut files, mut unknown, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    for flag in flags.iter().filter(|flag| flag.value.is_some()) {
        let into = match flag.values() {
            Values::Files => &mut files,
            Values::Unknown => &mut unknown,
            Values::Words(words) => {
                let reply = format!("mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")", words.join(" "));
                listed.push(format!("    {}) {reply}; return ;;", flag.names().join(" | ")));
                continue;
            }
        };
        into.extend(flag.names());
    }
    for names in [&mut files, &mut unknown] {
        names.sort();
        names.dedup();
    }
    listed.dedup();
    let mut lines = vec!["  case $prev in".to_string()];
    if !files.is_empty() {
        let reply = "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")";
        lines.push(format!("    {}) {reply}; return ;;", files.join(" | ")));
    }
    lines.extend(listed);
    if !unknown.is_empty() {
        lines.push(format!("    {}) return ;;", unknown.join(" | ")));
    }
    lines.push("  esac".into());
    lines
}
