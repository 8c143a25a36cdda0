//! Small sets of templates for `--sql-dir`.

/// The statement that creates a resource's database.
pub const CREATE: &str = "CREATE DATABASE {{RES_DB_NAME}}";

/// An empty database.
pub const MINIMAL: &[(&str, &str)] = &[("res_db/10.sql", CREATE)];

/// A database with the table `built`, into which each attempt that builds it inserts one row. The primary key is
/// needed in a replication group.
pub const COUNTING: &[(&str, &str)] = &[
    ("res_db/10.sql", CREATE),
    ("res_tables/10.sql", "CREATE TABLE built (n INT AUTO_INCREMENT PRIMARY KEY, res_id BIGINT)"),
    ("res_tables/20.sql", "INSERT INTO built (res_id) VALUES ({{RES_ID}})"),
];

/// `set` plus further files.
pub fn with<'a>(set: &[(&'a str, &'a str)], files: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [set, files].concat()
}

/// A statement that holds a job until the test releases the user lock `name`.
pub fn hold(name: &str) -> String {
    format!("DO GET_LOCK('{name}', 60); DO RELEASE_LOCK('{name}')")
}
