//! The files of migrations: which there are, for which type, and in which order. Pure: texts in, checked migrations out.

use crate::resources::{
    plain::plain,
    sql_text,
    template::{Template, TemplateError, Values, Variable, parse},
};

use super::statement::{self, Statement};

/// The folder of the files, as it begins their paths.
pub const FOLDER: &str = "res_migrations";

/// A checked file.
#[derive(Clone, Debug)]
pub struct Migration {
    /// Its place in the order, from 1. No other file has the same.
    pub number: u32,
    /// The type whose databases it changes; None: all.
    pub res_type: Option<String>,
    /// `res_migrations/shop/0002_currency.sql`.
    pub path: String,
    /// What is in the file.
    pub text: String,
    /// It changes no rows and leaves nothing in the session.
    pub is_plain: bool,
    /// None: it holds no statement.
    template: Option<Template>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrationError {
    /// The name is not of the form that a migration's has.
    #[error("{0}: a migration is named NNNN_words.sql, with a number of at least four digits from 0001 on")]
    Name(String),
    /// Two files have the same number.
    #[error("{second}: number {number} is that of {first} already; each number is used once, whatever the type")]
    Twice {
        /// The number.
        number: u32,
        /// The file that has it.
        first: String,
        /// The other one.
        second: String,
    },
    /// A number is left out.
    #[error("{path}: there is no migration {missing}; numbers follow each other without a gap")]
    Gap {
        /// The file behind the gap.
        path: String,
        /// The first number that is missing.
        missing: u32,
    },
    /// The folder's name is no type.
    #[error("{path}: there is no type {res_type:?}; known types: {known}")]
    UnknownType {
        /// The file.
        path: String,
        /// The folder.
        res_type: String,
        /// The types.
        known: String,
    },
    /// A mistake in the text.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A statement that resq cannot record by itself.
    #[error(
        "{path}, statement {statement}: {word} begins or ends a transaction or a lock; remove it, since resq runs and records \
         each statement by itself"
    )]
    Transaction {
        /// The file.
        path: String,
        /// The number of the statement, from 1.
        statement: usize,
        /// How it begins.
        word: String,
    },
    /// The file was another one when a database got it.
    #[error(
        "{path}: the file has changed since databases got migration {number} as {applied}; undo the change, and put what is \
         to change into a new migration"
    )]
    Changed {
        /// The file.
        path: String,
        /// Its number.
        number: u32,
        /// The path that it had then.
        applied: String,
    },
}

impl Migration {
    /// A file of this path, whose name and folder say number and type.
    ///
    /// # Errors
    /// The name or the text is not right.
    pub fn parse(path: &str, text: &str) -> Result<Migration, MigrationError> {
        let below = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
        let (res_type, name) = match below.split_once('/') {
            Some((res_type, name)) => (Some(res_type.to_string()), name),
            None => (None, below),
        };
        let number = number(name).ok_or_else(|| MigrationError::Name(path.into()))?;
        let template = parse(path, text, Variable::OF_RESOURCE)?;
        let mut migration =
            Migration { number, res_type, path: path.into(), text: text.into(), is_plain: false, template };
        migration.is_plain = migration.template.as_ref().is_none_or(|template| {
            let script = template.render(&Values::default());
            !template.leaves_trace && plain(&script).is_some_and(|plain| !plain.inserts)
        });
        for (at, statement) in migration.statements(&Values::default()).iter().enumerate() {
            if let Some(word) = statement::transaction_word(&statement.tokens) {
                return Err(MigrationError::Transaction { path: path.into(), statement: at + 1, word });
            }
        }
        Ok(migration)
    }

    /// Its statements for one database.
    pub fn statements(&self, values: &Values<'_>) -> Vec<Statement> {
        let script = self.template.as_ref().map(|template| template.render(values)).unwrap_or_default();
        sql_text::pieces(&script).into_iter().map(|(text, tokens)| Statement::new(text.trim(), tokens)).collect()
    }

    /// Whether the session that ran it must be reset before it runs anything else.
    pub fn leaves_trace(&self) -> bool {
        self.template.as_ref().is_some_and(|template| template.leaves_trace)
    }

    /// The size in bytes of the largest packet in which a statement of it can be sent.
    pub fn max_bytes(&self) -> usize {
        self.template.as_ref().map_or(0, Template::max_bytes)
    }

    /// Whether it changes databases of this type.
    pub fn is_for(&self, res_type: &str) -> bool {
        self.res_type.as_deref().is_none_or(|of| of == res_type)
    }
}

/// `NNNN_words.sql`.
fn number(name: &str) -> Option<u32> {
    let (digits, words) = name.strip_suffix(".sql")?.split_once('_')?;
    let is_number = digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = !words.is_empty() && words.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    digits.parse().ok().filter(|number| is_number && is_word && *number > 0)
}

/// All migrations, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Migrations(Vec<Migration>);

impl Migrations {
    /// Of these files. `types` are the known types.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn new<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        types: &[&str],
    ) -> Result<Migrations, MigrationError> {
        let parsed = files.into_iter().map(|(path, text)| Migration::parse(path, text));
        let mut all = parsed.collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|a, b| (a.number, &a.path).cmp(&(b.number, &b.path)));
        if let Some(pair) = all.windows(2).find(|pair| pair[0].number == pair[1].number) {
            let [first, second] = [&pair[0], &pair[1]].map(|migration| migration.path.clone());
            return Err(MigrationError::Twice { number: pair[0].number, first, second });
        }
        for (migration, expected) in all.iter().zip(1..) {
            if migration.number != expected {
                return Err(MigrationError::Gap { path: migration.path.clone(), missing: expected });
            }
            if let Some(res_type) = &migration.res_type
                && !types.contains(&res_type.as_str())
            {
                let (path, res_type) = (migration.path.clone(), res_type.clone());
                return Err(MigrationError::UnknownType { path, res_type, known: types.join(", ") });
            }
        }
        Ok(Migrations(all))
    }

    /// Those of one type, the common ones among them.
    pub fn of_type<'a>(&'a self, res_type: &'a str) -> impl DoubleEndedIterator<Item = &'a Migration> {
        self.0.iter().filter(move |migration| migration.is_for(res_type))
    }

    /// The version of a database that has all of them; 0 without any.
    pub fn newest(&self, res_type: &str) -> u32 {
        self.of_type(res_type).next_back().map_or(0, |migration| migration.number)
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Migration> {
        self.0.iter()
    }

    /// Refuses a file that differs from what a database got under its number. `applied`: number, path and text then.
    ///
    /// # Errors
    /// The first such file.
    pub fn check_applied<'a>(
        &self,
        applied: impl IntoIterator<Item = (u32, &'a str, &'a str)>,
    ) -> Result<(), MigrationError> {
        for (number, path, text) in applied {
            // One that is missing here is of a daemon with newer files.
            let here = self.0.get(number as usize - 1);
            if let Some(here) = here.filter(|here| here.path != path || here.text != text) {
                return Err(MigrationError::Changed { path: here.path.clone(), number, applied: path.into() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(files: &[(&str, &str)]) -> Result<Migrations, String> {
        let files: Vec<(String, &str)> = files.iter().map(|(path, text)| (format!("{FOLDER}/{path}"), *text)).collect();
        let files = files.iter().map(|(path, text)| (path.as_str(), *text));
        Migrations::new(files, &["default", "shop", "blog"]).map_err(|error| error.to_string())
    }

    #[test]
    fn files_of_all_types_are_merged_by_their_numbers() {
        let all = load(&[
            ("shop/0003_c.sql", "SELECT 3"),
            ("0001_a.sql", "SELECT 1"),
            ("blog/0002_b.sql", "SELECT 2"),
            ("0004_d.sql", "-- nothing to do\n"),
        ])
        .unwrap();
        let numbers = |res_type| all.of_type(res_type).map(|migration| migration.number).collect::<Vec<_>>();
        assert_eq!((numbers("default"), numbers("shop"), numbers("blog")), (vec![1, 4], vec![1, 3, 4], vec![1, 2, 4]));
        assert_eq!(all.newest("shop"), 4);
        assert_eq!(load(&[("shop/0001_a.sql", "SELECT 1")]).unwrap().newest("blog"), 0);
        assert_eq!(Migrations::default().newest("default"), 0);
    }

    #[test]
    fn wrong_files_are_refused_by_name() {
        let one = ("0001_a.sql", "SELECT 1");
        for (files, expected) in [
            (vec![("1_a.sql", "SELECT 1")], "1_a.sql: a migration is named"),
            (vec![("0001.sql", "SELECT 1")], "0001.sql: a migration is named"),
            (vec![("0001_.sql", "SELECT 1")], "0001_.sql: a migration is named"),
            (vec![("0000_a.sql", "SELECT 1")], "0000_a.sql: a migration is named"),
            (vec![("00O1_a.sql", "SELECT 1")], "00O1_a.sql: a migration is named"),
            (vec![("99999999999_a.sql", "SELECT 1")], "a migration is named"),
            (vec![one, ("0001_b.sql", "SELECT 2")], "0001_b.sql: number 1 is that of res_migrations/0001_a.sql"),
            (vec![("shop/0001_b.sql", "SELECT 2"), ("blog/0001_b.sql", "SELECT 2")], "number 1 is that of"),
            (vec![one, ("0003_c.sql", "SELECT 3")], "0003_c.sql: there is no migration 2"),
            (vec![("0002_c.sql", "SELECT 3")], "0002_c.sql: there is no migration 1"),
            (vec![("shopp/0001_a.sql", "SELECT 1")], "no type \"shopp\"; known types: default, shop, blog"),
            (vec![("0001_a.sql", "SELECT 1;\nSELECT {{NOPE}}")], "0001_a.sql:2: unknown variable {{NOPE}}"),
            (vec![("0001_a.sql", "SELECT '{{RES_ID}}'")], "0001_a.sql:1: {{RES_ID}} inside quotes"),
            (vec![("0001_a.sql", "SELECT 1; COMMIT")], "0001_a.sql, statement 2: COMMIT"),
            (vec![("0001_a.sql", "SET autocommit = 0")], "0001_a.sql, statement 1: SET autocommit"),
        ] {
            let error = load(&files).unwrap_err();
            assert!(error.contains(expected), "{files:?}: {error}");
        }
    }

    #[test]
    fn file_that_differs_from_what_was_applied_is_refused_by_name() {
        let all = load(&[("0001_a.sql", "SELECT 1"), ("0002_b.sql", "SELECT 2")]).unwrap();
        let (a, b) = ("res_migrations/0001_a.sql", "res_migrations/0002_b.sql");
        for (applied, refused) in [
            (vec![(1, a, "SELECT 1"), (2, b, "SELECT 2")], None),
            (vec![(3, "res_migrations/0003_newer.sql", "SELECT 3")], None),
            (vec![(1, a, "SELECT 1"), (2, b, "SELECT 2 ")], Some(b)),
            (vec![(1, "res_migrations/shop/0001_a.sql", "SELECT 1")], Some(a)),
        ] {
            let error = all.check_applied(applied.iter().copied()).err().map(|error| error.to_string());
            match (&error, refused) {
                (None, None) => {}
                (Some(error), Some(path)) if error.starts_with(path) => {}
                other => panic!("{applied:?}: {other:?}"),
            }
        }
    }

    proptest! {
        /// Whatever names and texts a folder holds, it is read or refused; and what is read has the numbers 1 to n.
        #[test]
        fn any_folder_is_read_or_refused(files in proptest::collection::vec(("[0-9]{3,5}_[a-z]{1,3}", "\\PC{0,20}"), 0..6)) {
            let files: Vec<(String, String)> =
                files.into_iter().map(|(name, text)| (format!("{FOLDER}/{name}.sql"), text)).collect();
            let parts = files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
            if let Ok(all) = Migrations::new(parts, &["default"]) {
                prop_assert!(all.iter().zip(1..).all(|(migration, n)| migration.number == n));
                prop_assert_eq!(all.newest("default") as usize, files.len());
            }
        }
    }
}
