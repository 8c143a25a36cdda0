//! The rules of the imports: a module uses only modules of lower levels, and there is no circle between files. So a reader
//! can go from the bottom up, and a file can be understood with those below it alone.

mod graph;

use std::collections::{BTreeMap, BTreeSet};

use graph::{File, Tree};

/// The modules of the library, from the bottom; those of one level do not use each other, except in [`BESIDE`].
const LEVELS: &[&[&str]] = &[
    &["wire", "base"],
    &["config"],
    &["cli", "client", "db"],
    &["events", "fanout", "output", "queue"],
    &["net", "resources", "schema"],
    &["api"],
    &["daemon", "sim"],
];

/// (user, used) on one level.
const BESIDE: &[(&str, &str)] = &[("cli", "db"), ("fanout", "events"), ("schema", "resources")];

fn level(module: &str) -> usize {
    let found = LEVELS.iter().position(|modules| modules.contains(&module));
    found.unwrap_or_else(|| panic!("module {module} has no level"))
}

#[test]
fn modules_use_only_lower_levels() {
    let tree = Tree::read();
    let mut wrong = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_in_library()) {
        for used in tree.uses(file) {
            let (own, used) = (file.top(), used.top());
            let is_allowed = own == used || level(used) < level(own) || BESIDE.contains(&(own, used));
            if !is_allowed {
                wrong.push(format!("{} uses {used}, which is not below {own}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_use_each_other_in_no_circle() {
    let tree = Tree::read();
    let edges: Edges = tree
        .files
        .iter()
        .map(|file| (file.path.as_str(), tree.uses(file).map(|used| used.path.as_str()).collect()))
        .collect();
    let mut in_circles: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    for path in edges.keys() {
        let mutual = |other: &&str| reached(path, &edges).contains(other) && reached(other, &edges).contains(path);
        in_circles.insert(reached(path, &edges).into_iter().filter(mutual).collect());
    }
    in_circles.remove(&BTreeSet::new());
    let report: Vec<String> = in_circles
        .iter()
        .map(|files| {
            let uses =
                |path: &&str| -> Vec<&str> { edges[*path].iter().filter(|u| files.contains(*u)).copied().collect() };
            files.iter().map(|path| format!("  {path} uses {}\n", uses(path).join(", "))).collect()
        })
        .collect();
    assert!(report.is_empty(), "files that use each other in a circle:\n{}", report.join("or\n"));
}

type Edges<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// The files that `from` uses, directly or through others.
fn reached<'a>(from: &str, edges: &Edges<'a>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = edges[from].clone();
    while let Some(path) = open.pop() {
        if found.insert(path) {
            open.extend(&edges[path]);
        }
    }
    found
}

#[test]
fn graph_follows_reexports_and_relative_paths() {
    let file = |path: &str, text: &str| File::new(path, text);
    let tree = Tree::new(vec![
        file("lib.rs", "pub mod a; pub mod b;"),
        file("a/mod.rs", "mod inner;\npub use inner::Thing;\nuse other::helper;\nmod other;"),
        file(
            "a/inner.rs",
            "use crate::b::{\n    self, c::Deep\n}; // use super::other::Not;\nlet x = \"crate::a::other\";",
        ),
        file(
            "a/other.rs",
            "use super::Thing;\nfn f() { crate::b::run() }\n#[cfg(test)]\nmod tests { use super::super::inner; }",
        ),
        file("b.rs", "pub mod c;"),
        file("b/c.rs", ""),
        file("bin/tool/main.rs", "mod args;\nuse resq::a::Thing;\nuse args::Args;"),
        file("bin/tool/args.rs", "use crate::nothing::Known;"),
    ]);
    let uses = |path: &str| -> Vec<&str> {
        let file = tree.files.iter().find(|file| file.path == path).unwrap();
        tree.uses(file).map(|used| used.path.as_str()).collect()
    };
    assert_eq!(uses("a/mod.rs"), ["a/other.rs"]);
    assert_eq!(uses("a/inner.rs"), ["b.rs", "b/c.rs"]);
    assert_eq!(uses("a/other.rs"), ["a/inner.rs", "b.rs"]);
    assert_eq!(uses("bin/tool/main.rs"), ["a/inner.rs", "bin/tool/args.rs"]);
    assert_eq!(uses("bin/tool/args.rs"), ["bin/tool/main.rs"]);
}
