//! The README names tests as proof of its promises: each of them exists, and none that runs a fault is left out.

use std::collections::BTreeSet;

use resq_test_support::Program;

const README: &str = include_str!("../../README.md");

/// What stands between back-quotes and looks like a test's path.
fn named() -> BTreeSet<&'static str> {
    let chapter = README.split("### What is promised").nth(1).and_then(|rest| rest.split("\n## ").next());
    chapter.expect("the chapter").split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect()
}

#[test]
fn every_test_named_in_the_readme_exists() {
    let list = Program::new(std::env::current_exe().unwrap()).arg("--list").ok();
    let there: BTreeSet<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let named = named();
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "named in the README and not there: {missing:?}");
    let faults =
        there.iter().filter(|test| test.starts_with("faults::") && !test.ends_with("proxy_can_drop_bytes_silently"));
    let unnamed: Vec<_> = faults.filter(|test| !named.contains(*test)).collect();
    assert!(unnamed.is_empty(), "not in the README: {unnamed:?}");
}
