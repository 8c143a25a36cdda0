//! Which file of `src` uses which: read from the paths in the text, without a parser of Rust. A re-export is followed to
//! the file that it names, and is no use of it. Tests inside a file do not count.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A file below `src`.
pub struct File {
    /// Relative to `src`.
    pub path: String,
    /// The crate and the module: `["resq", "net", "hub"]`, `["bin/resqctl", "args"]`.
    module: Vec<String>,
    /// Every path in the text but those of re-exports, relative ones resolved to the crate's root.
    paths: Vec<Vec<String>>,
    /// (name, path) of the re-exports and the imports, which `super::name` finds too.
    names: Vec<(String, Vec<String>)>,
}

impl File {
    pub fn new(path: &str, text: &str) -> File {
        let module = module(path);
        let text = without_comments_strings_and_tests(text);
        let (mut paths, mut names, mut rest) = (Vec::new(), Vec::new(), String::new());
        let mut tail = text.as_str();
        while let Some(start) = find_use(tail) {
            let end = tail[start..].find(';').map_or(tail.len(), |end| start + end);
            let statement = &tail[start..end];
            let (visibility, tree) = statement.split_once("use ").expect("it was found by it");
            let found: Vec<Vec<String>> = expand(tree).into_iter().map(|path| absolute(&path, &module)).collect();
            for path in &found {
                let (name, target) = match path.as_slice() {
                    [target @ .., keyword, name] if keyword == "as" => (name.clone(), target.to_vec()),
                    path => (path.last().cloned().unwrap_or_default(), path.to_vec()),
                };
                names.push((name, target.clone()));
                if !visibility.contains("pub") {
                    paths.push(target);
                }
            }
            rest += &tail[..start];
            tail = &tail[end..];
        }
        rest += tail;
        paths.extend(inline(&rest).iter().map(|path| absolute(path, &module)));
        File { path: path.into(), module, paths, names }
    }

    pub fn is_in_library(&self) -> bool {
        self.module[0] == "resq" && self.module.len() > 1
    }

    /// The top-level module.
    pub fn top(&self) -> &str {
        self.module.get(1).map_or("lib", String::as_str)
    }
}

/// All files.
pub struct Tree {
    pub files: Vec<File>,
}

impl Tree {
    /// The repository's `src`.
    pub fn read() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = Vec::new();
        collect(&root, &mut paths);
        let file = |path: &PathBuf| {
            let below = path.strip_prefix(&root).expect("a path below src").display().to_string();
            File::new(&below, &fs::read_to_string(path).expect("a source file"))
        };
        Tree::new(paths.iter().map(file).collect())
    }

    pub fn new(files: Vec<File>) -> Tree {
        Tree { files }
    }

    /// The other files that `file` uses, by path.
    pub fn uses(&self, file: &File) -> impl Iterator<Item = &File> {
        let mut used = BTreeSet::new();
        for path in &file.paths {
            if let Some(target) = self.resolve(path, 0)
                && self.files[target].path != file.path
            {
                used.insert((self.files[target].path.as_str(), target));
            }
        }
        used.into_iter().map(|(_, target)| &self.files[target])
    }

    /// The file that defines what `path` names; None: it is not in this tree.
    fn resolve(&self, path: &[String], depth: usize) -> Option<usize> {
        // The longest beginning that is a module.
        let (at, length) = (1..=path.len())
            .rev()
            .find_map(|length| Some((self.files.iter().position(|file| file.module == path[..length])?, length)))?;
        let Some(name) = path.get(length) else { return Some(at) };
        let file = &self.files[at];
        let target = file.names.iter().find(|(known, target)| known == name && target[..] != path[..=length]);
        match target {
            Some((_, target)) if depth < 8 => {
                let through = [&target[..], &path[length + 1..]].concat();
                // A name from outside, such as the standard library's, is this file's own to hand on.
                self.resolve(&through, depth + 1).or(Some(at))
            }
            // A crate's root is only its modules and its re-exports.
            None if length == 1 && path[0] == "resq" => None,
            _ => Some(at),
        }
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

/// The crate and the module of a file below `src`.
fn module(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path.trim_end_matches(".rs").split('/').map(String::from).collect();
    let own = if parts[0] == "bin" {
        let program = format!("bin/{}", parts[1]);
        parts.drain(..2);
        program
    } else {
        "resq".into()
    };
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    [vec![own], parts].concat()
}

/// The text without comments and strings, and without its test module, which ends a file.
fn without_comments_strings_and_tests(text: &str) -> String {
    let mut rest = text.find("#[cfg(test)]\nmod tests {").map_or(text, |end| &text[..end]);
    let mut code = String::new();
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else if c == '"' {
            string_length(rest)
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    code
}

/// Of the string with which the text begins, with its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == '"' && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    text.len()
}

/// Where the next line begins that starts with `use`, alone or behind `pub`.
fn find_use(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let words = line.trim_start();
        let public = words.starts_with("pub ") || words.starts_with("pub(");
        if words.starts_with("use ") || public && words.split(' ').nth(1) == Some("use") {
            return Some(start);
        }
        start += line.len();
    }
    None
}

/// A tree of imports as single paths; `a as b` ends in `as`, `b`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let words = tree.replace("::", " ");
        let path: Vec<String> = words.split_whitespace().map(String::from).collect();
        return if path.is_empty() { Vec::new() } else { vec![path] };
    };
    let prefix: Vec<String> = tree[..open].replace("::", " ").split_whitespace().map(String::from).collect();
    let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[start..]);
    let paths = parts.into_iter().flat_map(expand);
    paths.map(|path| if path == ["self"] { prefix.clone() } else { [prefix.clone(), path].concat() }).collect()
}

/// The paths of at least two names in code.
fn inline(code: &str) -> Vec<Vec<String>> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !is_path(c)).filter(|word| word.contains("::") && !word.starts_with("::"));
    words.map(|word| word.split("::").filter(|name| !name.is_empty()).map(String::from).collect()).collect()
}

/// A path from the crate's root: `crate`, `super` and `self` resolved, a child's or an imported name below its module.
fn absolute(path: &[String], module: &[String]) -> Vec<String> {
    match path[0].as_str() {
        "crate" => [&module[..1], &path[1..]].concat(),
        "resq" => path.to_vec(),
        "self" => [module, &path[1..]].concat(),
        "super" => {
            let ups = path.iter().take_while(|name| *name == "super").count();
            [&module[..module.len().saturating_sub(ups).max(1)], &path[ups..]].concat()
        }
        _ => [module, path].concat(),
    }
}
