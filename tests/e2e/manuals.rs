//! Manual pages and completions, as `make install` takes them from the programs: without faults for the tools that read
//! them, and with every option of `--help`.

use std::path::PathBuf;

use resq_test_support::{Program, binary};
use tempfile::TempDir;

const PROGRAMS: [&str; 4] = ["resqd", "resqctl", "resq-client", "resq-trigger"];

/// What the programs print, in files.
struct Pages(TempDir);

impl Pages {
    fn new() -> Pages {
        Pages(tempfile::tempdir().unwrap())
    }

    fn page(&self, program: &str, what: &str) -> PathBuf {
        let path = self.0.path().join(format!("{program}.{what}"));
        std::fs::write(&path, generated(program, what)).unwrap();
        path
    }
}

fn generated(program: &str, what: &str) -> String {
    Program::new(binary(program)).args(["--generate", what]).ok()
}

/// mandoc, zsh or fish, the host's or an unpacked one.
fn tool(name: &str) -> Program {
    let tool = Program::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/testtool.sh")).arg(name);
    ["HOME", "TESTDB_CACHE", "XDG_CACHE_HOME"].into_iter().fold(tool, |tool, name| match std::env::var_os(name) {
        Some(value) => tool.env(name, value),
        None => tool,
    })
}

fn help(program: &str, command: &[&str]) -> String {
    Program::new(binary(program)).args(command).arg("--help").ok()
}

fn options(help: &str) -> impl Iterator<Item = &str> {
    help.split(|c: char| c.is_whitespace() || ",[]".contains(c)).filter(|word| word.starts_with("--") && word.len() > 2)
}

fn commands(help: &str) -> Vec<&str> {
    let listed = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn every_option_and_command_is_in_the_page_and_the_completions() {
    for program in PROGRAMS {
        let top = help(program, &[]);
        let commands = commands(&top);
        assert_eq!(commands.is_empty(), program.starts_with("resq-"), "{program} {commands:?}");
        let helps: Vec<String> =
            commands.iter().map(|command| help(program, &[command])).chain([top.clone()]).collect();
        for what in ["man", "bash", "zsh", "fish"] {
            let text = generated(program, what).replace('\\', "");
            let names = |option: &&str| match what {
                "fish" => text.contains(&format!(" -l {} ", option.trim_start_matches("--"))),
                _ => text.contains(*option),
            };
            let missing: Vec<&str> = helps.iter().flat_map(|help| options(help)).filter(|o| !names(o)).collect();
            assert!(missing.is_empty(), "{program} {what}: {missing:?}");
            let missing: Vec<_> = commands.iter().filter(|command| !text.contains(**command)).collect();
            assert!(missing.is_empty(), "{program} {what}: {missing:?}");
        }
    }
}

#[test]
fn manual_pages_have_no_fault() {
    let pages = Pages::new();
    let mut paths: Vec<PathBuf> = PROGRAMS.iter().map(|program| pages.page(program, "man")).collect();
    paths.push(pages.page("resqd", "settings-man"));
    let found = tool("mandoc").arg("-Tlint").args(&paths).run();
    assert!(found.code() == Some(0) && found.stdout.is_empty(), "{found}");
}

#[test]
fn bash_completes_commands_options_and_values() {
    let pages = Pages::new();
    let path = pages.page("resqctl", "bash");
    for (words, expected) in [
        ("resqctl re", "reload restore resume retry"),
        ("resqctl --db-tls ver", "verify"),
        ("resqctl list --st", "--status"),
        ("resqctl -v list --status in", "in_progress"),
        ("resqctl retry --all", "--all-errors"),
        ("resqctl list --db-tls-", "--db-tls-ca"),
        ("resqctl list --limit 1", ""),
        ("resqctl --config /etc/host", "/etc/hostname /etc/hosts"),
    ] {
        let script = format!(
            "source {}; compopt() {{ :; }}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _resqctl; IFS=$'\\n'; sort <<<\"${{COMPREPLY[*]}}\" | grep -v host.conf | paste -sd' '",
            path.display()
        );
        assert_eq!(Program::new("bash").args(["-c", &script]).ok().trim(), expected, "{words}");
    }
}

#[test]
fn fish_completes_commands_and_options() {
    let pages = Pages::new();
    let path = pages.page("resqctl", "fish");
    for (line, expected) in [
        ("resqctl re", "reload restore resume retry"),
        ("resqctl list --st", "--status"),
        ("resqctl --db-tls ver", "verify"),
    ] {
        let script = format!("source {}; complete -C '{line}' | string split -f1 \\t", path.display());
        let found = tool("fish").args(["--no-config", "-c", &script]).ok();
        let mut found: Vec<&str> = found.split_whitespace().collect();
        found.sort();
        assert_eq!(found.join(" "), expected, "{line}");
    }
}

#[test]
fn completions_of_all_programs_are_valid() {
    let pages = Pages::new();
    for program in PROGRAMS {
        Program::new("bash").arg("-n").arg(pages.page(program, "bash")).ok();
        tool("zsh").arg("-n").arg(pages.page(program, "zsh")).ok();
        tool("fish").arg("--no-execute").arg(pages.page(program, "fish")).ok();
    }
}

#[test]
fn pages_have_the_version_and_day_of_the_newest_entry_of_the_changelog() {
    let changelog = include_str!("../../docs/CHANGELOG.md");
    let entry = changelog.lines().find_map(|line| line.strip_prefix("## ")).expect("an entry");
    let (version, day) = entry.trim_end_matches(')').split_once(" (").expect("VERSION (DAY)");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let title = format!(".TH RESQD 8 {day} \"resq {version}\" resq");
    assert_eq!(generated("resqd", "man").lines().next(), Some(title.as_str()));
}
