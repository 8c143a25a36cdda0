//! The rule of the imports: each module uses only what stands below it, so that a reader can go from the bottom up.

use std::path::{Path, PathBuf};

/// The modules of the library, from the bottom; those of one line don't know each other.
const LAYERS: &[&[&str]] = &[
    &["wire", "base"],
    &["config"],
    &["client", "db"],
    &["cli"],
    &["events", "output", "queue"],
    // The fan-out still writes to connections itself; once it does not, it stands below them.
    &["fanout", "resources"],
    &["net", "schema"],
    &["daemon", "sim"],
];

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|modules| modules.contains(&module));
    found.unwrap_or_else(|| panic!("module {module} has no place in the layers"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules named behind each `crate::`, alone or in braces.
fn used(text: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let name = |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
        let Some(list) = rest.strip_prefix('{') else {
            modules.push(name(rest));
            continue;
        };
        let (mut depth, mut start) = (1, true);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => start = true,
                c if start && depth == 1 && c.is_ascii_lowercase() => {
                    modules.push(name(&list[i..]));
                    start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    modules.retain(|module| !module.is_empty());
    modules
}

#[test]
fn imports_point_one_way() {
    assert_eq!(
        used("use crate::{\n  db::{Db, told},\n  base::text::printable,\n}; crate::wire::State"),
        ["db", "base", "wire"]
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    for path in found {
        let below = path.strip_prefix(&root).unwrap();
        let own = below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(own, "bin" | "lib") {
            continue;
        }
        for module in used(&std::fs::read_to_string(&path).unwrap()) {
            let fine = module == own || layer(&module) < layer(own) || (own == "fanout" && module == "net");
            assert!(fine, "{} uses {module}, which does not stand below {own}", below.display());
        }
    }
}
