//! Command lines as users write them, and what reaches argh and the settings.

use argh::{ArgsInfo, FromArgs};
use proptest::prelude::*;

use super::{
    Program,
    argv::{Grammar, Mistake, Request},
    help,
};

/// a program without subcommands
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
struct Flat {
    /// states
    #[argh(option)]
    sub: Vec<String>,
    /// a number
    #[argh(option)]
    count: Option<i64>,
    /// a switch
    #[argh(switch, short = 'j')]
    json: bool,
}

/// a program with subcommands
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
pub struct Nested {
    /// a switch of the program itself
    #[argh(switch)]
    quiet: bool,
    #[argh(subcommand)]
    call: Call,
}

#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand)]
pub enum Call {
    Add(Add),
    List(List),
}

/// adds
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "add")]
pub struct Add {
    /// names
    #[argh(positional)]
    names: Vec<String>,
    /// tags
    #[argh(option)]
    tag: Vec<String>,
}

/// lists
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "list")]
pub struct List {
    /// a number
    #[argh(option)]
    limit: Option<u32>,
    /// of what is listed
    #[argh(option)]
    version: Option<u32>,
}

const TAKES: &[&str] = &["client", "broker.token"];

/// The request as one line: what argh receives, then what was removed.
fn parsed<A: FromArgs + ArgsInfo>(line: &[&str]) -> String {
    let words: Vec<String> = line.iter().map(|w| w.to_string()).collect();
    match (Grammar { takes: TAKES, info: &A::get_args_info() }).parse(&words) {
        Err(Mistake(message)) => format!("error: {message}"),
        Ok(Request::Version) => "version".into(),
        Ok(Request::Generate(what)) => format!("generate {what}"),
        Ok(Request::Help(subcommand)) => format!("help {}", subcommand.unwrap_or_default()),
        Ok(Request::Run(run)) => {
            let mut line = run.args.join(" ");
            run.settings.iter().for_each(|(s, v)| line += &format!(" | {}={v}", s.key));
            run.config.iter().for_each(|c| line += &format!(" | config={c}"));
            run.log_file.iter().for_each(|c| line += &format!(" | log={c}"));
            line + &" | v".repeat(run.verbosity)
        }
    }
}

fn check<A: FromArgs + ArgsInfo>(table: &[(&[&str], &str)]) {
    for (line, expected) in table {
        assert_eq!(parsed::<A>(line), *expected, "{line:?}");
    }
}

#[test]
fn options_are_accepted_in_every_common_form() {
    check::<Flat>(&[
        (&[], ""),
        (&["--sub", "A"], "--sub A"),
        (&["--sub", "A", "B", "--json"], "--sub A --sub B --json"),
        (&["--sub=A", "B", "--sub", "C"], "--sub A --sub B --sub C"),
        (&["--count=3"], "--count 3"),
        (&["--count", "-3"], "--count -3"),
        (&["--sub=", "-j"], "--sub  --json"),
        (&["--sub=a=b"], "--sub a=b"),
        (&["--sub", "--", "A"], "error: --sub needs a value; write one that looks like an option as --sub=VALUE"),
        (&["--sub", "--json"], "error: --sub needs a value; write one that looks like an option as --sub=VALUE"),
        (&["--count"], "error: --count needs a value; write one that looks like an option as --count=VALUE"),
        (&["--json=yes"], "error: --json takes no value"),
        (&["stray"], "-- stray"),
        (&["--", "--json"], "-- --json"),
        (&["-"], "-- -"),
    ]);
}

#[test]
fn shared_options_and_settings_are_removed() {
    check::<Flat>(&[
        (&["-v", "-v"], " | v | v"),
        (&["-vv", "-vj"], "--json | v | v | v"),
        (&["--verbose"], " | v"),
        (&["--config=a", "--log-file", "b"], " | config=a | log=b"),
        (&["--config", "a", "--config", "b"], "error: --config is given twice"),
        (&["--host", "h", "--sub", "A", "--port=7"], "--sub A | client.host=h | client.port=7"),
        (&["--token-file", "f"], " | broker.token=f"),
        (&["--version"], "version"),
        (&["--help", "--sub", "A"], "help "),
        (&["--sub", "A", "-h"], "help "),
    ]);
}

#[test]
fn an_unknown_option_is_reported_with_the_nearest_known_one() {
    check::<Flat>(&[
        (&["--jsn"], "error: unknown option --jsn; did you mean --json?"),
        (&["--hots=x"], "error: unknown option --hots; did you mean --host?"),
        (&["-vx"], "error: unknown option -vx"),
        (&["--workers", "5"], "error: unknown option --workers"),
        (&["--zzzzzzzzzz\n"], "error: unknown option --zzzzzzzzzz\\n"),
    ]);
    let message = parsed::<Flat>(&["--db-password=hunter2"]);
    assert!(message.contains("never taken from a command line") && !message.contains("hunter2"), "{message}");
}

#[test]
fn options_are_accepted_on_either_side_of_a_subcommand() {
    check::<Nested>(&[
        (&["--limit", "5", "list", "--quiet"], "--quiet list --limit 5"),
        (&["list", "--version", "5"], "list --version 5"),
        (&["list", "--version=5", "--quiet"], "--quiet list --version 5"),
        (&["list", "--version"], "version"),
        (&["list", "-V"], "version"),
        (&["--version", "list"], "version"),
        (&["add", "--version", "5"], "version"),
        (&["-v", "list", "--host=h", "--config", "c"], "list | client.host=h | config=c | v"),
        (&["add", "a", "--tag", "x", "b"], "add --tag x -- a b"),
        (&["add", "help", "list", "--", "-n"], "add -- help list -n"),
        (&["list", "--tag", "x"], "error: --tag is not an option of 'list'"),
        (&["--tag", "x"], "error: --tag is an option of a subcommand, and none is given"),
        (&["lsit"], "error: unknown subcommand 'lsit'; did you mean 'list'?"),
        (&["\u{1b}"], "error: unknown subcommand '\\u{1b}'; known are add, list"),
        (&["--quiet"], "--quiet"),
        (&["help"], "help "),
        (&["help", "add"], "help add"),
        (&["add", "--help"], "help add"),
        (&["--help", "add"], "help add"),
    ]);
}

#[test]
fn argh_accepts_the_normalized_form() {
    let args = |line: &[&str]| -> Vec<String> {
        let words: Vec<String> = line.iter().map(|w| w.to_string()).collect();
        match (Grammar { takes: TAKES, info: &Nested::get_args_info() }).parse(&words) {
            Ok(Request::Run(run)) => run.args,
            _ => panic!("{line:?}"),
        }
    };
    let args = args(&["--tag=x", "add", "--quiet", "help", "-v", "--", "--quiet"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let add = Add { names: vec!["help".into(), "--quiet".into()], tag: vec!["x".into()] };
    assert_eq!(Nested::from_args(&["p"], &args), Ok(Nested { quiet: true, call: Call::Add(add) }));
}

#[test]
fn help_lists_the_options_and_settings_of_the_program_alone() {
    let text = help::text::<Flat>(&Program { name: "p", takes: TAKES, handles_signals: false, commit: None }, None);
    for part in
        ["Usage: p", "--sub", "--config FILE", "--host VALUE, RESQ_HOST, client.host", "--token-file FILE, RESQ_TOKEN"]
    {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(!text.contains("MYSQL_HOST"), "{text}");
    let text =
        help::text::<Nested>(&Program { name: "p", takes: &[], handles_signals: false, commit: None }, Some("add"));
    assert!(text.contains("Usage: p add") && text.contains("--tag") && !text.contains("Settings"), "{text}");
}

proptest! {
    #[test]
    fn any_command_line_is_parsed_or_refused_in_one_line(
        words in prop::collection::vec(
            prop_oneof!["add", "list", "help", "--", "-", "--tag", "--tag=x", "--limit", "--host", "-v+", "--help", "\\PC{0,6}", ".{0,6}"],
            0..8,
        ),
    ) {
        for info in [Nested::get_args_info(), Flat::get_args_info()] {
            match (Grammar { takes: TAKES, info: &info }).parse(&words) {
                Err(Mistake(message)) => prop_assert!(!message.chars().any(char::is_control), "{message:?}"),
                Ok(Request::Run(run)) => {
                    // Every word without a dash is kept: it is a subcommand, a value or a positional.
                    let kept = run.args.iter().chain(run.settings.iter().map(|(_, v)| v)).chain(&run.config).chain(&run.log_file);
                    let kept: Vec<&String> = kept.collect();
                    for word in words.iter().filter(|w| !w.starts_with('-')) {
                        prop_assert!(kept.contains(&word), "{word:?} of {words:?} is not in {kept:?}");
                    }
                }
                Ok(_) => {}
            }
        }
    }
}
