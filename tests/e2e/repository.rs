//! Rules for the text of the repository: sizes, and what must not come back.

use std::{fs, path::Path};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LONGEST_FILE: usize = 400;
const WIDEST_LINE: usize = 140;

/// Where the SQL is that is shipped.
const SHIPPED_SQL: &[&str] = &["src/db", "src/queue", "src/events", "src/resources", "src/schema", "src/api"];
const TYPED: &str = "the driver panics at a value that does not fit its type: use db::ReadRows";

/// (text, folders, why not). This file is not read.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    ("cfg!(test)", &["src", "udf/src"], "what is tested is what is shipped: make the value a field"),
    ("#[path", &["src", "udf/src", "tests", "benches"], "shared code belongs into tests/support"),
    ("allow(dead_code)", &["src", "udf/src", "tests", "benches"], "remove what nothing uses"),
    ("wait_for_log", &["tests", "benches"], "wait for a notification, a row, a frame or an exit code"),
    ("thread::sleep", &["tests/e2e"], "wait for a signal with a deadline"),
    (".exec_", &["src"], "resq prepares no statements: quote the values"),
    (".exec(", &["src"], "resq prepares no statements: quote the values"),
    (".query(", SHIPPED_SQL, TYPED),
    (".query_first", SHIPPED_SQL, TYPED),
    (".query_map", SHIPPED_SQL, TYPED),
    (".prep(", &["src"], "resq prepares no statements: quote the values"),
    ("TODO", &["src", "udf/src", "tests", "benches", "sql", "scripts"], "file an issue"),
];

/// Words of an earlier dialect; the field has its own terms for what they meant.
const DIALECT: &[&str] = &["bell", "bells", "rope", "told", "whoever", "nobody", "somebody", "leftovers", "hearken"];

/// Files that may break a rule: (text, "long file" or "dialect"; path).
const EXCEPTIONS: &[(&str, &str)] = &[
    // A user of the system.
    ("dialect", "scripts/testdb/fetch.sh"),
    // The typed reads themselves, of a kind that does not panic.
    (".query_first", "src/db/read.rs"),
    // An application and an observer.
    (".exec_", "src/sim/fidelity/calls.rs"),
];

/// Files with one of these endings below `folder`, with their paths relative to the repository.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let (mut open, mut found) = (vec![Path::new(ROOT).join(folder)], Vec::new());
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let is_built = path.file_name().is_some_and(|name| name == "target");
            if path.is_dir() && !is_built {
                open.push(path);
            } else if path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) {
                found.push((relative(&path), fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(ROOT).expect("a path below the repository").display().to_string()
}

fn is_exception(rule: &str, path: &str) -> bool {
    path == "tests/e2e/repository.rs" || EXCEPTIONS.contains(&(rule, path))
}

/// Every line in `folders` for which `mistake` names one, except in files that may break `rule`.
fn lines_with(rule: &str, folders: &[&str], mistake: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let files = folders.iter().flat_map(|folder| files(folder, &["rs", "sql", "sh", "py"]));
    files
        .filter(|(path, _)| !is_exception(rule, path))
        .flat_map(|(path, content)| {
            let lines = content.lines().zip(1..);
            let found = lines.filter_map(|(line, n)| Some(format!("{path}:{n}: {}: {}", line.trim(), mistake(line)?)));
            found.collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn forbidden_constructs_do_not_return() {
    let found: Vec<String> = FORBIDDEN
        .iter()
        .flat_map(|(text, folders, why)| lines_with(text, folders, |line| line.contains(text).then(|| why.to_string())))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn words_of_the_old_dialect_do_not_return() {
    let found = lines_with("dialect", &["src", "udf/src", "tests", "benches", "sql", "scripts"], |line| {
        let mut words = line.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
        words.find(|word| DIALECT.contains(&word.as_str()))
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn files_are_short_and_lines_narrow() {
    let mut found = Vec::new();
    for folder in ["src", "udf/src", "tests", "benches", "sql", "scripts"] {
        for (path, content) in files(folder, &["rs", "sql", "sh", "py"]) {
            if content.lines().count() > LONGEST_FILE && !is_exception("long file", &path) {
                found.push(format!("{path}: {} lines, at most {LONGEST_FILE}", content.lines().count()));
            }
            for (line, number) in content.lines().zip(1..) {
                if line.chars().count() > WIDEST_LINE {
                    found.push(format!("{path}:{number}: {} columns, at most {WIDEST_LINE}", line.chars().count()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn exceptions_are_still_needed() {
    for (text, path) in EXCEPTIONS.iter().filter(|(text, _)| !text.contains(" ") && *text != "dialect") {
        let content = fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_default();
        assert!(content.contains(text), "{path} no longer has {text}: remove the exception");
    }
}
