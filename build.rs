//! Embeds the repository's `sql/` in the program: a sorted list of (path, text), which `resources::template_files` includes.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=sql");
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("sql");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let lines: Vec<String> = files
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
            format!("({name:?}, include_str!({:?}))", path.display().to_string())
        })
        .collect();
    let out = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("sql.rs");
    fs::write(out, format!("&[{}]", lines.join(",\n"))).expect("OUT_DIR can be written");
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("sql/ can be read") {
        let path = entry.expect("sql/ can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "sql") {
            files.push(path);
        }
    }
}
