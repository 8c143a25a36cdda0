//! From a resource's name to its database's name. Pure: the registry decides whether that name is free.

use crate::{config::SYSTEM_DATABASES, db::ServerInfo};

/// The longest database name of MySQL and MariaDB, in characters.
const LONGEST: usize = 64;

/// A resource's name that no database can be named after.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// `res_name` is empty.
    #[error("res_name is empty, so no database can be named after it")]
    Empty,
    /// This name is one of the server's own databases.
    #[error(
        "its database would be named `{0}`, which is a system database; choose another res_name or queue.db_prefix"
    )]
    System(String),
    /// This name is the database of the queue.
    #[error("its database would be named `{0}`, which holds the queue; choose another res_name or queue.db_prefix")]
    Queue(String),
}

/// What names depend on besides the resource.
#[derive(Clone, Debug)]
pub struct Naming {
    /// `queue.db_prefix`.
    pub prefix: String,
    /// The database of the queue, unquoted.
    pub global_db: String,
    /// The server ignores case when it compares names.
    pub folds_case: bool,
}

impl Naming {
    /// The naming according to these settings on this server.
    pub fn new(prefix: &str, global_db: &str, server: &ServerInfo) -> Naming {
        Naming { prefix: prefix.into(), global_db: global_db.into(), folds_case: server.folds_case }
    }

    /// The database of resource `name`: prefix + name if that is plain (`[A-Za-z0-9_]`) and fits. Else every other
    /// character becomes `_` and the job's number makes the name unique: `res_caf__17`.
    ///
    /// # Errors
    /// The name is empty, or the result is a database that resq must not touch.
    pub fn db_name(&self, name: &str, id: u64) -> Result<String, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut db_name = if name.chars().all(plain) && self.prefix.len() + name.len() <= LONGEST {
            format!("{}{name}", self.prefix)
        } else {
            let end = format!("_{id}");
            let room = LONGEST - self.prefix.len() - end.len();
            let safe: String = name.chars().take(room).map(|c| if plain(c) { c } else { '_' }).collect();
            format!("{}{safe}{end}", self.prefix)
        };
        if self.folds_case {
            db_name.make_ascii_lowercase();
        }
        if SYSTEM_DATABASES.iter().any(|system| system.eq_ignore_ascii_case(&db_name)) {
            return Err(NameError::System(db_name));
        }
        if self.global_db.eq_ignore_ascii_case(&db_name) {
            return Err(NameError::Queue(db_name));
        }
        Ok(db_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naming(prefix: &str) -> Naming {
        Naming { prefix: prefix.into(), global_db: "resq".into(), folds_case: false }
    }

    #[test]
    fn plain_names_are_kept_and_others_are_made_unique() {
        let long = "x".repeat(255);
        let table: &[(&str, &str, &str)] = &[
            ("res_", "shop_17", "res_shop_17"),
            ("res_", "shop-17", "res_shop_17_5"),
            ("res_", "a!", "res_a__5"),
            ("res_", "../x", "res____x_5"),
            ("res_", "mysql", "res_mysql"),
            ("res_", "\u{1F600}", "res___5"),
            ("res_", &long, &format!("res_{}_5", "x".repeat(58))),
            ("res_", "x\0y", "res_x_y_5"),
        ];
        for (prefix, name, expected) in table {
            assert_eq!(naming(prefix).db_name(name, 5).as_deref(), Ok(*expected), "{name:?}");
        }
        for (prefix, name) in
            [("res_", ""), ("", "mysql"), ("", "Information_Schema"), ("res", "q"), ("", "RESQ"), ("", "sys")]
        {
            assert!(naming(prefix).db_name(name, 5).is_err(), "{prefix:?} {name:?}");
        }
        let folding = Naming { folds_case: true, ..naming("res_") };
        assert_eq!(folding.db_name("Shop", 5).as_deref(), Ok("res_shop"));
    }

    proptest! {
        #[test]
        fn every_name_is_plain_and_fits(name in "\\PC{1,255}", id in 1u64..) {
            let db_name = naming("res_").db_name(&name, id).unwrap();
            prop_assert!(db_name.len() <= LONGEST && db_name.starts_with("res_"));
            prop_assert!(db_name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        }
    }
}
