//! The template files: those built into the program, and those in the folder `sql.dir`. Decides which files run for which
//! purpose, and in which order. All files are read and checked once, before anything runs; none is run here.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    migrate::files::{FOLDER, MigrationError, Migrations},
    template::{Template, TemplateError, Variable, parse},
};
use crate::base::failure::{Exit, Failure};

/// (path below `sql/`, text) of every file of the repository's `sql/`, in the order of the paths.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sql.rs"));

/// The type that needs no folder of its own.
const DEFAULT_TYPE: &str = "default";

/// Every checked template, in the order in which they run.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    /// Run by `resqctl init` in no particular database.
    pub init_db: Vec<Template>,
    /// Run by `resqctl init` in the global database.
    pub init_tables: Vec<Template>,
    /// Run for every resource; one of them creates its database.
    pub res_db: Vec<Template>,
    /// Run for every resource in its database, whatever its type.
    pub res_tables: Vec<Template>,
    /// By `res_type`: run after `res_tables`.
    types: BTreeMap<String, ResourceType>,
    /// What brings databases of older templates to what these build.
    pub migrations: Migrations,
    /// (path, text) of each file, in the order in which they run.
    files: Vec<(String, String)>,
}

/// The files of one `res_type`.
#[derive(Clone, Debug, Default)]
struct ResourceType {
    templates: Vec<Template>,
    version: String,
}

/// Template files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// This line of this file is not UTF-8.
    #[error("{}:{}: not UTF-8; save the file as UTF-8", .0.display(), .1)]
    NotUtf8(PathBuf, usize),
    /// A file is not a valid template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A file is not a valid migration, or does not fit to the others.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The folder `sql.dir` contains no file that creates a resource's database.
    #[error("sql.dir {}: its folder res_db holds no *.sql file, so nothing would create a resource's database", .0.display())]
    NothingCreates(PathBuf),
    /// A folder where only files are expected.
    #[error(
        "{}: unexpected folder; files are in res_tables/<res_type> and res_migrations/<res_type> at most", .0.display()
    )]
    TooDeep(PathBuf),
    /// A file is larger than a statement may be for the server.
    #[error(
        "{file}: {bytes} bytes exceed the server's limit of {max_bytes}; raise max_allowed_packet on the server, or split \
         the file"
    )]
    TooLarge {
        /// The file, as in [`Template::name`].
        file: String,
        /// Its size with the longest possible values.
        bytes: usize,
        /// The server's `max_allowed_packet`, in bytes.
        max_bytes: usize,
    },
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        Failure::new(Exit::Usage, error.to_string())
    }
}

impl Templates {
    /// The built-in files. With `sql_dir`, its `res_db`, `res_tables` and `res_migrations` replace the built-in ones, and its
    /// `init_*` files run after the built-in ones.
    ///
    /// # Errors
    /// The first file that cannot be used, with the line of a mistake.
    pub fn load(sql_dir: Option<&Path>) -> Result<Templates, LoadError> {
        let built_in = BUILT_IN.iter().map(|(path, text)| (path.to_string(), text.to_string()));
        let mut files: Vec<(String, String)> = match sql_dir {
            None => built_in.collect(),
            Some(_) => built_in.filter(|(path, _)| path.starts_with("init_")).collect(),
        };
        if let Some(dir) = sql_dir {
            let known: usize = files.len();
            for folder in ["init_db", "init_tables", "res_db", "res_tables", FOLDER] {
                read_folder(dir, folder, &mut files)?;
            }
            if !files[known..].iter().any(|(path, _)| path.starts_with("res_db/")) {
                return Err(LoadError::NothingCreates(dir.into()));
            }
        }
        let mut templates = Templates::default();
        templates.types.insert(DEFAULT_TYPE.into(), ResourceType::default());
        for (path, text) in &files {
            templates.add(path, text)?;
        }
        for (name, resource_type) in &mut templates.types {
            resource_type.version = version(&files, name);
        }
        let migrations = files.iter().filter(|(path, _)| path.starts_with(&format!("{FOLDER}/")));
        let migrations = migrations.map(|(path, text)| (path.as_str(), text.as_str()));
        templates.migrations = Migrations::new(migrations, &templates.types().collect::<Vec<_>>())?;
        templates.files = files;
        Ok(templates)
    }

    fn add(&mut self, path: &str, text: &str) -> Result<(), LoadError> {
        let parts: Vec<&str> = path.split('/').collect();
        let (list, allowed) = match parts.as_slice() {
            ["init_db", _] => (&mut self.init_db, Variable::OF_INIT),
            ["init_tables", _] => (&mut self.init_tables, Variable::OF_INIT),
            ["res_db", _] => (&mut self.res_db, Variable::OF_RESOURCE),
            ["res_tables", _] => (&mut self.res_tables, Variable::OF_RESOURCE),
            ["res_tables", name, _] => {
                (&mut self.types.entry(name.to_string()).or_default().templates, Variable::OF_RESOURCE)
            }
            _ => return Ok(()),
        };
        list.extend(parse(path, text, allowed)?);
        Ok(())
    }

    /// Checks that each file fits into one packet of the server.
    ///
    /// # Errors
    /// The first file that is larger than `max_bytes`, the server's `max_allowed_packet`.
    pub fn check_sizes(&self, max_bytes: usize) -> Result<(), LoadError> {
        let common = [&self.init_db, &self.init_tables, &self.res_db, &self.res_tables].into_iter().flatten();
        let all = common.chain(self.types.values().flat_map(|of_type| &of_type.templates));
        let templates = all.map(|template| (&template.name, template.max_bytes()));
        let migrations = self.migrations.iter().map(|migration| (&migration.path, migration.max_bytes()));
        match templates.chain(migrations).find(|(_, bytes)| *bytes > max_bytes) {
            Some((file, bytes)) => Err(LoadError::TooLarge { file: file.clone(), bytes, max_bytes }),
            None => Ok(()),
        }
    }

    /// The templates that run after `res_tables` for this `res_type`; None: there is no such type. A type is only looked up
    /// here and never becomes part of a path.
    pub fn of_type(&self, res_type: &str) -> Option<&[Template]> {
        self.types.get(res_type).map(|found| found.templates.as_slice())
    }

    /// Identifies the contents of the files that build a database of this `res_type`: 40 hexadecimal digits that change with
    /// any of those files and with no other. Empty for an unknown type.
    pub fn version(&self, res_type: &str) -> &str {
        self.types.get(res_type).map_or("", |found| &found.version)
    }

    /// (path, text) of the files that build a database of this `res_type`, in the order in which they run.
    pub fn set<'a>(&'a self, res_type: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.files.iter().filter(move |(path, _)| is_of(path, res_type));
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Every known `res_type`, `default` first.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        let others = self.types.keys().map(String::as_str).filter(|name| *name != DEFAULT_TYPE);
        std::iter::once(DEFAULT_TYPE).chain(others)
    }
}

/// The version of one type: a hash of the paths and texts of the files that run for it.
fn version(files: &[(String, String)], res_type: &str) -> String {
    let mut hash = Sha256::new();
    for (path, text) in files.iter().filter(|(path, _)| is_of(path, res_type)) {
        hash.update(format!("{path}\0{text}\0"));
    }
    hash.finalize()[..20].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the file of this path runs for a database of this type.
fn is_of(path: &str, res_type: &str) -> bool {
    let of_type = path.strip_prefix("res_tables/").map(|below| below.split_once('/').unwrap_or(("", below)));
    path.starts_with("res_db/")
        || of_type.is_some_and(|(folder, name)| folder.is_empty() || (folder == res_type && !name.is_empty()))
}

/// Reads `dir/folder/*.sql` in the order of the names, then those of its folders. A folder without files is a type, too.
fn read_folder(dir: &Path, folder: &str, files: &mut Vec<(String, String)>) -> Result<(), LoadError> {
    let path = dir.join(folder);
    let unreadable = |error| LoadError::Unreadable(path.clone(), error);
    let mut entries: Vec<PathBuf> = match fs::read_dir(&path) {
        Ok(entries) => entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>().map_err(unreadable)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound && folder != "res_db" => return Ok(()),
        Err(e) => return Err(unreadable(e)),
    };
    entries.sort_by_key(|path| (path.is_dir(), path.clone()));
    for entry in entries {
        let Some(name) = entry.file_name().and_then(|name| name.to_str()) else { continue };
        // Names beginning with a dot are left by tools: `._10.sql`, `.#10.sql`, `.git`, and the `..data` of a mounted
        // ConfigMap, whose files are links into it.
        if name.starts_with('.') {
            continue;
        }
        let below = format!("{folder}/{name}");
        if entry.is_dir() && (folder == "res_tables" || folder == FOLDER) {
            // Represented as a file without name and text, so that a type exists even if its folder is empty.
            if folder == "res_tables" {
                files.push((format!("{below}/"), String::new()));
            }
            read_folder(dir, &below, files)?;
        } else if entry.is_dir() {
            return Err(LoadError::TooDeep(entry));
        } else if name.ends_with(".sql") {
            let bytes = fs::read(&entry).map_err(|e| LoadError::Unreadable(entry.clone(), e))?;
            files.push((below, text(entry, bytes)?));
        }
    }
    Ok(())
}

fn text(path: PathBuf, bytes: Vec<u8>) -> Result<String, LoadError> {
    String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        LoadError::NotUtf8(path, line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_files_are_valid_and_complete() {
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
        assert_eq!(templates.types().collect::<Vec<_>>(), ["default", "blog", "shop"]);
    }

    #[test]
    fn a_folder_replaces_resources_and_adds_to_init() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(Templates::load(Some(dir.path())).unwrap_err().to_string().contains("res_db"));
        write("res_db/1.sql", b"CREATE DATABASE {{RES_DB_NAME}}");
        write("init_tables/1.sql", b"CREATE TABLE IF NOT EXISTS mine (a INT)");
        write("res_tables/shop/1.sql", b"SELECT 1");
        write("res_tables/notes.txt", b"\xff");
        let templates = Templates::load(Some(dir.path())).unwrap();
        assert_eq!(templates.res_tables.len(), 0);
        assert_eq!(templates.types().collect::<Vec<_>>(), ["default", "shop"]);
        assert_eq!(templates.init_tables.last().unwrap().name, "init_tables/1.sql");
        write("res_tables/2.sql", b"SELECT 1;\nSELECT '\xff'");
        assert!(Templates::load(Some(dir.path())).unwrap_err().to_string().contains("2.sql:2: not UTF-8"));
        write("res_tables/2.sql", b"SELECT\n{{WHAT}}");
        let error = Templates::load(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("res_tables/2.sql:2: unknown variable"), "{error}");
    }

    #[test]
    fn a_types_version_changes_with_its_own_and_the_common_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let versions = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            let templates = Templates::load(Some(dir.path())).unwrap();
            ["default", "blog", "shop", "none"].map(|name| templates.version(name).to_string())
        };
        versions("res_db/1.sql", "CREATE DATABASE {{RES_DB_NAME}}");
        versions("res_tables/blog/1.sql", "SELECT 1");
        let first = versions("res_tables/shop/1.sql", "SELECT 1");
        assert!(first[..3].iter().all(|version| version.len() == 40) && first[3].is_empty(), "{first:?}");
        assert_eq!(versions("init_tables/1.sql", "SELECT 1"), first);
        let shop = versions("res_tables/shop/1.sql", "SELECT 2");
        assert_eq!((&shop[..2], shop[2] != first[2]), (&first[..2], true));
        let all = versions("res_tables/1.sql", "SELECT 1");
        assert!(all.iter().zip(&shop).take(3).all(|(new, old)| new != old), "{all:?}");
    }
}
