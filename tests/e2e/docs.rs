//! The manual is held against the programs: links, paths, commands, options and log lines named in it exist, and no
//! warning or error of the programs is missing from it. (`docs/settings.md` is compared with the table of settings by a
//! test beside that table.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use resq_test_support::Program;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: PathBuf) -> Page {
        let text = fs::read_to_string(&path).unwrap();
        Page { path, text }
    }

    /// The lines outside code blocks.
    fn prose(&self) -> String {
        let parts = self.text.split("\n```").enumerate().filter(|(i, _)| i % 2 == 0);
        parts.map(|(_, part)| part.split_once('\n').map_or(part, |(_, rest)| rest)).collect::<Vec<_>>().join("\n")
    }

    /// Every code span, and every line of every code block without its comment.
    fn code(&self) -> Vec<String> {
        let prose = self.prose();
        let spans = prose.split('`').skip(1).step_by(2).map(str::to_string);
        let blocks = self.text.split("\n```").skip(1).step_by(2).flat_map(str::lines);
        spans.chain(blocks.map(|line| line.split('#').next().unwrap_or_default().to_string())).collect()
    }

    /// Headings as links name them.
    fn anchors(&self) -> BTreeSet<String> {
        let whole = format!("\n{}", self.text);
        let outside = whole.split("\n```").step_by(2).flat_map(str::lines);
        let headings = outside.filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn pages() -> Vec<Page> {
    let docs = fs::read_dir(format!("{ROOT}/docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    paths.push(format!("{ROOT}/README.md").into());
    paths.into_iter().map(Page::read).collect()
}

#[test]
fn readme_has_at_most_120_lines() {
    let lines = fs::read_to_string(format!("{ROOT}/README.md")).unwrap().lines().count();
    assert!(lines <= 120, "README.md has {lines} lines");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for page in pages() {
        for link in page.prose().split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(file) };
            let has_heading = || heading.is_empty() || Page::read(target.clone()).anchors().contains(heading);
            if !target.exists() || !has_heading() {
                broken.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "dead links: {broken:#?}");
}

#[test]
fn every_path_named_exists() {
    const FOLDERS: [&str; 7] = ["src/", "tests/", "scripts/", "sql/", "udf/", "benches/", "docs/"];
    let mut missing = Vec::new();
    for page in pages() {
        for code in page.code() {
            for word in code.split_whitespace().map(|word| word.trim_matches(|c: char| ",;:()".contains(c))) {
                let is_path = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
                if is_path && FOLDERS.iter().any(|f| word.starts_with(f)) && !Path::new(ROOT).join(word).exists() {
                    missing.push(format!("{}: {word}", page.path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no such files: {missing:#?}");
}

/// A program's flags and, for resqctl, its subcommands.
struct Grammar {
    flags: BTreeSet<String>,
    commands: BTreeSet<String>,
}

impl Grammar {
    fn of(path: &str) -> Grammar {
        let help = Program::new(path).arg("--help").ok();
        let listed = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
        let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let commands: BTreeSet<String> =
            names.filter_map(|line| line.split_whitespace().next().map(str::to_string)).collect();
        // A word after the name of a program that needs no subcommand may be prose.
        let needs_one = !help.contains("[<command>]");
        let more = commands.iter().map(|command| Program::new(path).args([command, "--help"]).ok());
        let all = std::iter::once(help.clone()).chain(more).collect::<Vec<_>>().join("\n");
        let words = all.split(|c: char| c.is_whitespace() || ",[]".contains(c));
        Grammar {
            flags: words.filter(|word| word.starts_with("--")).map(str::to_string).collect(),
            commands: if needs_one { commands } else { BTreeSet::new() },
        }
    }

    /// What is wrong with the words after the program's name.
    fn check(&self, words: &[&str]) -> Option<String> {
        let flag = |word: &&str| word.split('=').next().unwrap_or_default().to_string();
        let flags = words.iter().filter(|word| word.starts_with("--") && word.len() > 2).map(flag);
        let unknown = flags.into_iter().find(|flag| !self.flags.contains(flag));
        // What follows --config is its value.
        let first = if words.first() == Some(&"--config") { words.get(2) } else { words.first() };
        let is_name = |word: &&&str| word.starts_with(|c: char| c.is_ascii_lowercase());
        let command = first.filter(is_name).filter(|word| !self.commands.is_empty() && !self.commands.contains(**word));
        unknown.or(command.map(|word| word.to_string()))
    }
}

#[test]
fn every_command_and_option_named_exists() {
    let programs = [
        ("resqd", Grammar::of(env!("CARGO_BIN_EXE_resqd"))),
        ("resqctl", Grammar::of(env!("CARGO_BIN_EXE_resqctl"))),
        ("resq-client", Grammar::of(env!("CARGO_BIN_EXE_resq-client"))),
        ("resq-trigger", Grammar::of(env!("CARGO_BIN_EXE_resq-trigger"))),
    ];
    // Options of mysqldump.
    const FOREIGN: [&str; 3] = ["--routines", "--triggers", "--set-gtid-purged=OFF"];
    let makefile = fs::read_to_string(format!("{ROOT}/Makefile")).unwrap();
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    let targets: Vec<&str> = targets.split(' ').collect();
    let mut unknown = Vec::new();
    for page in pages() {
        for code in page.code() {
            let mut wrong = |what: &str| unknown.push(format!("{}: {what} in `{code}`", page.path.display()));
            for call in code.split(['|', ';', '&']) {
                let words: Vec<&str> = call.split_whitespace().collect();
                let name = |word: &&str| word.rsplit('/').next().unwrap_or_default().to_string();
                for (i, word) in words.iter().enumerate() {
                    if let Some((_, grammar)) = programs.iter().find(|(program, _)| *program == name(word))
                        && let Some(what) = grammar.check(&words[i + 1..])
                    {
                        wrong(&what);
                    }
                }
                if let Some(at) = words.iter().position(|word| *word == "make") {
                    let named = words[at + 1..].iter().filter(|word| !word.contains('='));
                    named.filter(|word| !targets.contains(*word)).for_each(|word| wrong(word));
                }
            }
            let alone = code.split([' ', '=', ':']).next().filter(|word| word.starts_with("--") && word.len() > 2);
            if let Some(flag) = alone
                && !programs.iter().any(|(_, grammar)| grammar.flags.contains(flag))
                && !FOREIGN.contains(&code.as_str())
            {
                wrong(flag);
            }
        }
    }
    assert!(unknown.is_empty(), "named but unknown: {unknown:#?}");
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "sim" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The string literals among a call's arguments; `text` begins behind the opening parenthesis.
fn literals(text: &str) -> Vec<String> {
    let (mut depth, mut literal, mut found) = (1, None::<String>, Vec::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (&mut literal, c) {
            (Some(open), '\\') => match chars.next() {
                // The next line goes on at its first character.
                Some('\n') => chars = chars.as_str().trim_start().chars(),
                Some(escaped) => open.push(escaped),
                None => break,
            },
            (Some(_), '"') => found.extend(literal.take()),
            (Some(open), c) => open.push(c),
            (None, '"') => literal = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// What a literal says between its values, in parts long enough to be searched for.
fn phrases(literal: &str) -> Vec<String> {
    let mut outside = String::new();
    let mut in_value = false;
    for c in literal.chars() {
        match c {
            '{' => in_value = true,
            '}' => {
                in_value = false;
                outside.push('\n');
            }
            c if !in_value => outside.push(c),
            _ => {}
        }
    }
    let parts = outside.lines().map(|part| part.trim().trim_matches(|c: char| !c.is_alphanumeric()).replace('`', ""));
    parts.filter(|part| part.len() >= 8 && part.contains(' ')).collect()
}

#[test]
fn every_warning_and_error_is_explained() {
    let mut files = Vec::new();
    sources(&Path::new(ROOT).join("src"), &mut files);
    sources(&Path::new(ROOT).join("udf/src"), &mut files);
    let manual = fs::read_to_string(format!("{ROOT}/docs/operating.md")).unwrap();
    let (_, table) = manual.split_once("\n## Every warning and error\n").expect("the table of log lines");
    let table = table.replace('`', "");
    let (mut seen, mut missing) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for call in ["warn!(", "error!(", ".warn(", "log_line(", ".report("] {
            for (at, _) in shipped.match_indices(call) {
                for phrase in literals(&shipped[at + call.len()..]).iter().flat_map(|literal| phrases(literal)) {
                    seen += 1;
                    if !table.contains(&phrase) {
                        missing.push(format!("{}: {phrase}", file.display()));
                    }
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} log lines found: has logging been renamed?");
    assert!(missing.is_empty(), "docs/operating.md does not explain: {missing:#?}");
}
