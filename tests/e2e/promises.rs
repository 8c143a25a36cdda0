//! `docs/testing.md` names the tests behind its promises: each of them exists, and no test of a fault is left out.

use std::collections::BTreeSet;

use resq_test_support::Program;

const PAGE: &str = include_str!("../../docs/testing.md");

/// The code spans that look like a test's path.
fn named() -> BTreeSet<&'static str> {
    let chapter = PAGE.split("## What is promised").nth(1).and_then(|rest| rest.split("\n## ").next());
    chapter.expect("the chapter").split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect()
}

#[test]
fn every_test_named_in_the_docs_exists() {
    let list = Program::new(std::env::current_exe().unwrap()).arg("--list").ok();
    let there: BTreeSet<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let named = named();
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "named in docs/testing.md but missing: {missing:?}");
    let unnamed: Vec<_> = there.iter().filter(|test| test.starts_with("faults::") && !named.contains(*test)).collect();
    assert!(unnamed.is_empty(), "not in docs/testing.md: {unnamed:?}");
}
