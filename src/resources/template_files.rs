//! The template files: those built into the program, and the folder that `sql.dir` names. All are read and checked
//! once, before anything runs; owns which files run where and in what order.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::template::{Template, Variable, parse};

/// (path below `sql/`, text) of every file of the repository's `sql/`, in name order.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sql.rs"));

/// Every checked template, in the order in which it runs.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    pub init_db: Vec<Template>,
    pub init_tables: Vec<Template>,
    pub res_db: Vec<Template>,
    pub res_tables: Vec<Template>,
    /// By `res_type`: what runs after `res_tables`.
    pub types: BTreeMap<String, Vec<Template>>,
    /// All text that makes a resource's database; its hash is the template version.
    pub fingerprint: String,
}

impl Templates {
    /// The built-in files, or with `sql_dir` its `res_db` and `res_tables` in their place and its `init_*` files
    /// after the built-in ones. The error names file and line.
    pub fn load(sql_dir: Option<&Path>) -> Result<Templates, String> {
        let built_in = BUILT_IN.iter().map(|(path, text)| (path.to_string(), text.to_string()));
        let mut files: Vec<(String, String)> = match sql_dir {
            None => built_in.collect(),
            Some(_) => built_in.filter(|(path, _)| path.starts_with("init_")).collect(),
        };
        if let Some(dir) = sql_dir {
            let known: usize = files.len();
            for folder in ["init_db", "init_tables", "res_db", "res_tables"] {
                read_folder(dir, folder, &mut files)?;
            }
            if !files[known..].iter().any(|(path, _)| path.starts_with("res_db/")) {
                return Err(format!(
                    "sql.dir {}: no *.sql in its res_db folder, so nothing would create a resource's database",
                    dir.display()
                ));
            }
        }
        let mut templates = Templates::default();
        for (path, text) in &files {
            templates.add(path, text)?;
        }
        Ok(templates)
    }

    fn add(&mut self, path: &str, text: &str) -> Result<(), String> {
        let parts: Vec<&str> = path.split('/').collect();
        let (list, allowed) = match parts.as_slice() {
            ["init_db", _] => (&mut self.init_db, Variable::OF_INIT),
            ["init_tables", _] => (&mut self.init_tables, Variable::OF_INIT),
            ["res_db", _] => (&mut self.res_db, Variable::OF_RESOURCE),
            ["res_tables", _] => (&mut self.res_tables, Variable::OF_RESOURCE),
            ["res_tables", kind, _] => (self.types.entry(kind.to_string()).or_default(), Variable::OF_RESOURCE),
            _ => return Ok(()),
        };
        if let Some(template) = parse(path, text, allowed).map_err(|e| e.to_string())? {
            list.push(template);
        }
        if parts[0].starts_with("res_") {
            self.fingerprint += &format!("{path}\0{text}\0");
        }
        Ok(())
    }
}

/// Reads `dir/folder/*.sql` in name order, then those of its folders: a folder without files is a type, too.
fn read_folder(dir: &Path, folder: &str, files: &mut Vec<(String, String)>) -> Result<(), String> {
    let path = dir.join(folder);
    let mut entries: Vec<PathBuf> = match fs::read_dir(&path) {
        Ok(entries) => {
            entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>().map_err(|e| unreadable(&path, e))?
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && folder != "res_db" => return Ok(()),
        Err(e) => return Err(unreadable(&path, e)),
    };
    entries.sort_by_key(|path| (path.is_dir(), path.clone()));
    for entry in entries {
        let Some(name) = entry.file_name().and_then(|name| name.to_str()) else { continue };
        let below = format!("{folder}/{name}");
        if entry.is_dir() && folder == "res_tables" {
            // A type, with files or without: entered as one without text.
            files.push((format!("{below}/"), String::new()));
            read_folder(dir, &below, files)?;
        } else if entry.is_dir() {
            return Err(format!("{}: folders of templates go no deeper than res_tables/<res_type>", entry.display()));
        } else if name.ends_with(".sql") {
            let bytes = fs::read(&entry).map_err(|e| unreadable(&entry, e))?;
            files.push((below, text(&entry, bytes)?));
        }
    }
    Ok(())
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("{}:{line}: not UTF-8; save the file as UTF-8", path.display())
    })
}

fn unreadable(path: &Path, error: std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_files_are_right_and_complete() {
        let templates = Templates::load(None).unwrap();
        for (list, name) in [
            (&templates.init_db, "init_db"),
            (&templates.init_tables, "init_tables"),
            (&templates.res_db, "res_db"),
            (&templates.res_tables, "res_tables"),
        ] {
            assert!(!list.is_empty(), "{name}");
            assert!(list.is_sorted_by_key(|template| template.name.clone()), "{name}");
        }
        assert_eq!(templates.types.len(), 2, "two example types");
    }

    #[test]
    fn a_folder_replaces_resources_and_adds_to_init() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(Templates::load(Some(dir.path())).unwrap_err().contains("res_db"));
        write("res_db/1.sql", b"CREATE DATABASE {{RES_DB_NAME}}");
        write("init_tables/1.sql", b"CREATE TABLE IF NOT EXISTS mine (a INT)");
        write("res_tables/shop/1.sql", b"SELECT 1");
        write("res_tables/notes.txt", b"\xff");
        let templates = Templates::load(Some(dir.path())).unwrap();
        assert_eq!(templates.res_tables.len(), 0);
        assert_eq!(templates.types.keys().collect::<Vec<_>>(), ["shop"]);
        assert_eq!(templates.init_tables.last().unwrap().name, "init_tables/1.sql");
        write("res_tables/2.sql", b"SELECT 1;\nSELECT '\xff'");
        assert!(Templates::load(Some(dir.path())).unwrap_err().contains("2.sql:2: not UTF-8"));
        write("res_tables/2.sql", b"SELECT\n{{WHAT}}");
        assert!(Templates::load(Some(dir.path())).unwrap_err().contains("res_tables/2.sql:2: unknown variable"));
    }
}
