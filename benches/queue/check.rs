//! `resqctl check --all` over databases of three tables, compared with one bare connection that only reads the same rows of the
//! information schema.

use std::{
    thread,
    time::{Duration, Instant},
};

use mysql::{Row, prelude::Queryable};
use resq::{
    db::{ident, run_script},
    resources::{
        Templates,
        check::{Checker, Finding, Which},
        references::References,
        scratch::ScratchDatabases,
        template::Values,
        template_sets,
    },
};

use resq_test_support::{Server, TestDatabase};

use crate::WORKERS;

/// A table of the information schema, its column for the database, and what a comparison needs of it.
const READ: &[(&str, &str, &str)] = &[
    ("SCHEMATA", "SCHEMA_NAME", "DEFAULT_COLLATION_NAME"),
    ("TABLES", "TABLE_SCHEMA", "TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT"),
    (
        "COLUMNS",
        "TABLE_SCHEMA",
        "TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, COLLATION_NAME, EXTRA, \
         GENERATION_EXPRESSION, COLUMN_COMMENT",
    ),
    (
        "STATISTICS",
        "TABLE_SCHEMA",
        "TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, SUB_PART, COLLATION, NON_UNIQUE, INDEX_TYPE, INDEX_COMMENT",
    ),
    ("CHECK_CONSTRAINTS", "CONSTRAINT_SCHEMA", "CONSTRAINT_NAME, CHECK_CLAUSE"),
    (
        "KEY_COLUMN_USAGE",
        "TABLE_SCHEMA",
        "TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME",
    ),
    ("REFERENTIAL_CONSTRAINTS", "CONSTRAINT_SCHEMA", "TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE"),
    ("VIEWS", "TABLE_SCHEMA", "TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, SECURITY_TYPE, DEFINER"),
    (
        "TRIGGERS",
        "TRIGGER_SCHEMA",
        "TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER, ACTION_STATEMENT, SQL_MODE, \
         DEFINER",
    ),
    ("ROUTINES", "ROUTINE_SCHEMA", "ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION, SQL_MODE, DEFINER"),
    ("EVENTS", "EVENT_SCHEMA", "EVENT_NAME, EVENT_DEFINITION, STATUS, SQL_MODE, DEFINER"),
];

/// Times of `rounds` rounds over `count` databases: (ours, bare).
pub fn measure(server: &Server, rounds: usize, count: u32) -> (Vec<Duration>, Vec<Duration>) {
    let database = TestDatabase::new(server, "bench_check");
    let templates = Templates::load(None).expect("the built-in files");
    make(&database, &templates, count);
    let ours = || {
        let scratch = ScratchDatabases::new(&database.db, &database.db, "res_", &database.info);
        let start = Instant::now();
        let references = References::new(scratch, database.db.global_db(), &templates);
        let mut checker = Checker::new(&database.db, &database.db, references).expect("a server");
        let report = |_: &_, finding: &Finding| assert!(matches!(finding, Finding::Same), "{finding:?}");
        let summary = checker.run(&Which::default(), report).expect("a check");
        assert_eq!(summary.same, u64::from(count));
        start.elapsed()
    };
    let bare = || {
        let mut conn = database.bare();
        let start = Instant::now();
        for (table, schema, columns) in READ {
            let select =
                format!("SELECT {schema}, {columns} FROM information_schema.{table} WHERE {schema} LIKE 'res\\_%'");
            let rows: Vec<Row> = conn.query(select).expect("rows");
            assert!(!rows.is_empty() || !matches!(*table, "TABLES" | "COLUMNS"));
        }
        start.elapsed()
    };
    crate::in_turns(rounds, ours, bare)
}

fn make(database: &TestDatabase, templates: &Templates, count: u32) {
    let mut conn = database.db.global().expect("the queue");
    template_sets::keep(&mut conn, templates).expect("the templates");
    let ids: Vec<u32> = (1..=count).collect();
    let version = templates.version("default");
    for ids in ids.chunks(500) {
        let list = |row: &dyn Fn(&u32) -> String| ids.iter().map(row).collect::<Vec<_>>().join(", ");
        let jobs = list(&|id| format!("({id}, 'n{id}', 'done', 'res_n{id}')"));
        let databases = list(&|id| format!("('res_n{id}', {id}, 'default', 'ready', '{version}', 0)"));
        conn.query_drop(format!("INSERT INTO res_queue (res_id, res_name, status, db_name) VALUES {jobs}"))
            .expect("jobs");
        conn.query_drop(format!(
            "INSERT INTO res_database (db_name, res_id, res_type, state, template_version, claim_id) VALUES {databases}"
        ))
        .expect("databases");
    }
    thread::scope(|scope| {
        for ids in ids.chunks(ids.len().div_ceil(WORKERS)) {
            let mut conn = database.bare();
            scope.spawn(move || {
                for id in ids {
                    let (res_db, res_name) = (format!("res_n{id}"), format!("n{id}"));
                    let res_type = "default";
                    let values = Values {
                        res_db: &res_db,
                        res_name: &res_name,
                        res_type,
                        res_id: u64::from(*id),
                        ..Values::default()
                    };
                    run_script(&mut conn, &templates.res_db[0].render(&values)).expect("a database");
                    let tables = format!("USE {}; {}", ident(&res_db), templates.res_tables[0].render(&values));
                    run_script(&mut conn, &tables).expect("its tables");
                }
            });
        }
    });
}
