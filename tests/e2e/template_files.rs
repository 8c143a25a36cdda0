//! Template files as people have them: what a server would run is sent as it is written, and what resq does not send is
//! refused at start with file and line. Each case is a resource type of its own, so that one daemon runs all of them.

use std::collections::BTreeMap;

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Server, templates};

struct Case {
    files: &'static [&'static str],
    name: &'static str,
    /// What is asked in the resource's database, and the answer.
    check: (&'static str, &'static str),
}

const fn case(files: &'static [&'static str], check: (&'static str, &'static str)) -> Case {
    Case { files, name: "plain", check }
}

const TABLES: &str = "SELECT GROUP_CONCAT(TABLE_NAME ORDER BY TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
const ROWS: &str = "SELECT COUNT(*) FROM a";
const DROPPER: &str = "x\\'); DROP TABLE b; -- ";
const STORED: &str = "SELECT IF(x = CONVERT('${NAME}' USING utf8mb4), 'same', x) FROM a, (SELECT COUNT(*) FROM b) b";

const CASES: &[Case] = &[
    // Executable comments are code.
    case(
        &["CREATE TABLE a (id INT PRIMARY KEY)\n/*!50100 PARTITION BY HASH (id) PARTITIONS 4 */"],
        (
            "SELECT COUNT(*) FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() AND \
             PARTITION_NAME IS NOT NULL",
            "4",
        ),
    ),
    case(&["/*!50003 CREATE TABLE c (a INT) */"], (TABLES, "c")),
    case(&["/*!50003 CREATE TABLE c (a INT /* inner ' ; */) */;\n"], (TABLES, "c")),
    case(&["/*!99999 never ';' */ CREATE TABLE c (a INT)"], (TABLES, "c")),
    case(
        &["/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE */;\nCREATE TABLE c (a INT);\n/*!40101 SET \
             SQL_MODE=@OLD_SQL_MODE */;"],
        (TABLES, "c"),
    ),
    case(&["CREATE TABLE c (a INT /*M!100500 COMMENT 'MariaDB''s' */)"], (TABLES, "c")),
    case(&["CREATE TABLE c (a INT DEFAULT /*!50000 {{RES_ID}} */)"], (TABLES, "c")),
    // Marks and line ends of editors.
    case(&["\u{feff}CREATE TABLE c (a INT)"], (TABLES, "c")),
    case(&["\u{feff}-- nothing\r\n", "CREATE TABLE c (a INT);\r\n-- end\r\n"], (TABLES, "c")),
    case(&["CREATE TABLE a (x BLOB);\rINSERT INTO a VALUES ('1\r\n2\r3')\r"], ("SELECT HEX(x) FROM a", "310D0A320D33")),
    // What a file leaves open is committed, and the next file starts with a clean session.
    case(&["SET autocommit = 0; CREATE TABLE a (x INT); INSERT INTO a VALUES (1)"], (ROWS, "1")),
    case(&["CREATE TABLE a (x INT); START TRANSACTION; INSERT INTO a VALUES (1)", "SELECT 1"], (ROWS, "1")),
    case(
        &[
            "CREATE TABLE a (x INT); SET SESSION completion_type = 1; BEGIN; INSERT INTO a VALUES (1)",
            "CREATE TABLE b (x INT)",
        ],
        (ROWS, "1"),
    ),
    case(&["CREATE TABLE a (x INT); USE information_schema", "CREATE TABLE b (x INT)"], (TABLES, "a,b")),
    case(&["CREATE TABLE a (x INT); LOCK TABLES a WRITE", "CREATE TABLE b (x INT)"], (TABLES, "a,b")),
    case(
        &[
            "CREATE TABLE a (x INT); CREATE TEMPORARY TABLE b (y INT)",
            "CREATE TABLE b (x INT); INSERT INTO b (x) VALUES (1)",
        ],
        ("SELECT x FROM b", "1"),
    ),
    case(
        &[
            "SET @v = 1, SESSION sql_mode = 'ANSI_QUOTES', autocommit = 0, foreign_key_checks = 0, NAMES \
             latin1; DO RELEASE_ALL_LOCKS()",
            "CREATE TABLE a (x VARCHAR(99)); INSERT INTO a SELECT CONCAT_WS(',', @@sql_mode LIKE '%ANSI%', \
             @@autocommit + 0, @@foreign_key_checks + 0, @@character_set_client, COALESCE(@v, 'unset'))",
        ],
        ("SELECT x FROM a", "0,1,1,utf8mb4,unset"),
    ),
    // A value is a value by whatever rules the server reads quotes.
    Case {
        files: &["CREATE TABLE b (y INT); SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'; CREATE TABLE a (x \
             VARCHAR(255) CHARACTER SET utf8mb4); INSERT INTO a VALUES ({{RES_NAME}})"],
        name: DROPPER,
        check: (STORED, "same"),
    },
    Case {
        files: &["CREATE TABLE b (y INT); SET NAMES gbk; CREATE TABLE a (x VARCHAR(255) CHARACTER SET utf8mb4); \
             INSERT INTO a VALUES ({{RES_NAME}})"],
        name: "\u{bf}\\'\u{7e97}'); DROP TABLE b; -- ",
        check: (STORED, "same"),
    },
    Case {
        files: &["CREATE TABLE b (y INT); SET NAMES sjis; SET sql_mode = 'ANSI_QUOTES'; CREATE TABLE a (x \
             VARCHAR(255) CHARACTER SET utf8mb4 DEFAULT {{RES_NAME}}); INSERT INTO a VALUES (DEFAULT)"],
        name: "caf\u{e9} \u{65e5}\u{672c} \" ' `",
        check: (STORED, "same"),
    },
    Case {
        files: &["CREATE TABLE b (y INT); CREATE TABLE a (x INT); /*!99999 {{RES_NAME}} */ INSERT INTO a VALUES (1)"],
        name: "*/; DROP TABLE b; --",
        check: ("SELECT COUNT(*) FROM a, (SELECT COUNT(*) FROM b) b", "1"),
    },
    // Text that looks like a placeholder.
    case(
        &["CREATE TABLE a (x VARCHAR(99)); INSERT INTO a VALUES ('Dear {{'{{'}}first_name}}')"],
        ("SELECT x FROM a", "Dear {{first_name}}"),
    ),
    // Stored programs arrive with their comments and quotes.
    case(
        &["CREATE PROCEDURE p()\nBEGIN\n  -- it's ;\n  SELECT ';' AS `a;b`; # \"\n  /* end; */\nEND;\nCREATE \
             TABLE c (a INT);"],
        (
            "SELECT CONCAT(ROUTINE_DEFINITION LIKE '%-- it''s ;%', ROUTINE_DEFINITION LIKE '%`a;b`; # \"%', \
             ROUTINE_DEFINITION LIKE '%/* end; */%') FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = \
             DATABASE()",
            "111",
        ),
    ),
];

#[test]
fn files_are_run_as_they_are_written() {
    let instance = Instance::ready("as_written");
    let mut files: Vec<(String, String)> = vec![("res_db/10.sql".into(), templates::CREATE.into())];
    for (case, number) in CASES.iter().zip(0..) {
        for (text, file) in case.files.iter().zip(1..) {
            files.push((format!("res_tables/case{number}/{file}0.sql"), text.to_string()));
        }
    }
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let sql = instance.sql_dir(&borrowed);
    // What tools leave beside the files.
    std::fs::write(sql.join("res_tables/case0/._10.sql"), b"\0\x05\x16\x07").unwrap();
    std::fs::write(sql.join("res_tables/.#10.sql"), b"\xff").unwrap();
    std::fs::create_dir_all(sql.join("res_db/.git")).unwrap();
    // A mounted ConfigMap: files are links into a folder whose name begins with dots.
    std::fs::create_dir_all(sql.join("res_tables/..2026_11_25")).unwrap();
    std::fs::write(sql.join("res_tables/..2026_11_25/90.sql"), b"CREATE VIEW linked AS SELECT 1 AS a").unwrap();
    std::os::unix::fs::symlink("..2026_11_25", sql.join("res_tables/..data")).unwrap();
    std::fs::create_dir_all(sql.join("res_tables/links")).unwrap();
    std::os::unix::fs::symlink("../..data/90.sql", sql.join("res_tables/links/90.sql")).unwrap();

    let mut app = instance.app();
    for (case, number) in CASES.iter().zip(0..) {
        let name = if case.name == "plain" { format!("case{number}") } else { case.name.into() };
        app.exec_drop("INSERT INTO res_queue (res_name, res_type) VALUES (?, ?)", (name, format!("case{number}")))
            .unwrap();
    }
    app.query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('linked', 'links')").unwrap();
    let resqd = instance.resqd().args(["--workers", "2"]).arg("--sql-dir").arg(&sql).spawn();
    let waited = instance.resqctl(["wait", "--timeout", "60"]).run();
    assert_eq!(resqd.stop().code(), Some(0));

    let mut conn = instance.conn();
    let jobs: Vec<(String, String, Option<String>, Option<String>)> =
        conn.query("SELECT res_type, res_name, db_name, last_error FROM res_queue").unwrap();
    let mut wrong = BTreeMap::new();
    for (res_type, name, db_name, error) in jobs {
        let Some(db_name) = db_name else {
            wrong.insert(res_type, error.unwrap_or_else(|| "not done".into()));
            continue;
        };
        conn.query_drop(format!("USE `{db_name}`")).unwrap();
        let (check, expected) = match res_type.strip_prefix("case") {
            Some(number) => CASES[number.parse::<usize>().unwrap()].check,
            None => (TABLES, "linked"),
        };
        let check = check.replace("'${NAME}'", &format!("_utf8mb4 X'{}'", hex(&name)));
        match conn.query_first::<Option<String>, _>(&check) {
            Ok(answer) if answer.clone().flatten().as_deref() == Some(expected) => {}
            other => drop(wrong.insert(res_type, format!("{other:?} instead of {expected:?}"))),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(waited.code(), Some(0), "{waited}");
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn what_no_server_would_take_is_refused_at_start() {
    let instance = Instance::ready("unusable_files");
    for (text, place, fact) in [
        ("SELECT 'Dear {{first_name}}'", "10.sql:1", "{{'{{'}}"),
        ("SELECT 1;\n;", "10.sql:2", "1065"),
        ("-- all of it\rSELECT 1", "10.sql:1", ""),
        ("SELECT 1;\nSELECT '\0'", "10.sql:2", "NUL"),
        ("SELECT 1; /*!50000 SELECT 2", "10.sql:1", ""),
        ("SELECT 1;\nDELIMITER //", "10.sql:2", "DELIMITER"),
    ] {
        let sql = instance.sql_dir(&templates::with(templates::MINIMAL, &[("res_tables/10.sql", text)]));
        let finished = instance.resqd().arg("--sql-dir").arg(&sql).expect_code(2);
        assert!(finished.stderr.contains(place) && finished.stderr.contains(fact), "{text:?}: {finished}");
        std::fs::remove_dir_all(sql).unwrap();
    }
}

#[test]
fn file_larger_than_a_packet_is_refused_by_start_init_and_doctor() {
    let server = Server::with_options(&["--max-allowed-packet=1M"]);
    let instance = Instance::on(&server, "large_file");
    instance.resqctl(["init"]).ok();
    let text = format!("CREATE TABLE a (x INT);\n{}", "INSERT INTO a VALUES (1);\n".repeat(80_000));
    let sql = instance.sql_dir(&templates::with(templates::MINIMAL, &[("res_tables/10.sql", &text)]));
    for program in [instance.resqd(), instance.resqctl(["init"])] {
        let finished = program.arg("--sql-dir").arg(&sql).expect_code(2);
        for fact in ["res_tables/10.sql", "1048576", "max_allowed_packet"] {
            assert!(finished.stderr.contains(fact), "{fact}: {finished}");
        }
    }
    let doctor = instance.resqctl(["doctor"]).arg("--sql-dir").arg(&sql).run();
    assert!(
        doctor.stdout.lines().any(|line| line.starts_with("FAILED") && line.contains("max_allowed_packet")),
        "{doctor}"
    );
}

/// A file of random statements with noise between them, and the rows that it inserts.
fn random_file(rng: &mut fastrand::Rng) -> (String, Vec<(u32, String)>) {
    const NOISE: &[&str] = &[
        "/* it's ; \" */",
        "-- it's \" ; `\n",
        "--\t'\n",
        "# ; ' /*\n",
        "/* a /* b */",
        "/**/",
        "\r\n",
        "\n\n",
        " ",
        "/*!99999 skipped ';' */",
        "/*+ no hint */",
        "--\n",
        "/*!50000 */",
        "/* \\' */",
    ];
    const PARTS: &[&str] = &[
        "a",
        "Z9",
        "'",
        "\"",
        "`",
        "\\",
        ";",
        "--",
        " ",
        "/*",
        "*/",
        "#",
        "\n",
        "\r",
        "\u{e9}",
        "\u{1f600}",
        "%",
        "\t",
    ];
    let mut text =
        String::from("CREATE TABLE arrived (n INT PRIMARY KEY, v LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)");
    let mut rows = Vec::new();
    for n in 0..20 {
        let value: String = (0..rng.usize(0..8)).map(|_| PARTS[rng.usize(..PARTS.len())]).collect();
        let quote = ['\'', '"'][rng.usize(..2)];
        let mut literal = String::from(quote);
        for c in value.chars() {
            match c {
                '\\' => literal.push_str("\\\\"),
                c if c == quote && rng.bool() => literal.extend(['\\', c]),
                c if c == quote => literal.extend([c, c]),
                c => literal.push(c),
            }
        }
        literal.push(quote);
        let mut noise = || NOISE[rng.usize(..NOISE.len())];
        text += &format!(";{}", noise());
        let statement = format!("INSERT {} INTO arrived {} VALUES ({n}, {literal})", noise(), noise());
        // In an executable comment only what has no comment of its own, whose nesting servers forbid.
        let plain = !statement.contains("*/") && !statement.contains("/*") && !statement.contains(['#', '-']);
        text += &if plain && rng.bool() { format!("/*!50000 {statement} */") } else { statement };
        rows.push((n, value));
    }
    (text, rows)
}

#[test]
fn random_files_arrive_as_they_were_written() {
    let seed = std::env::var("RESQ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("RESQ_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let instance = Instance::ready("random_files");
    let made: Vec<_> = (0..25).map(|_| random_file(&mut rng)).collect();
    let mut files: Vec<(String, &str)> = vec![("res_db/10.sql".into(), templates::CREATE)];
    files.extend(made.iter().zip(0..).map(|((text, _), n)| (format!("res_tables/r{n}/10.sql"), text.as_str())));
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let sql = instance.sql_dir(&borrowed);
    let mut app = instance.app();
    for n in 0..made.len() {
        app.exec_drop("INSERT INTO res_queue (res_name, res_type) VALUES (?, ?)", (format!("r{n}"), format!("r{n}")))
            .unwrap();
    }
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    let waited = instance.resqctl(["wait", "--timeout", "60"]).run();
    assert_eq!(resqd.stop().code(), Some(0));
    let mut conn = instance.conn();
    for ((text, rows), n) in made.iter().zip(0..) {
        let error: Option<String> = conn
            .exec_first("SELECT last_error FROM res_queue WHERE res_type = ?", (format!("r{n}"),))
            .unwrap()
            .flatten();
        assert_eq!(error, None, "{text}");
        let arrived: Vec<(u32, String)> =
            conn.query(format!("SELECT n, v FROM `{}r{n}`.arrived ORDER BY n", instance.db_prefix)).unwrap();
        assert_eq!(&arrived, rows, "{text}");
    }
    assert_eq!(waited.code(), Some(0), "{waited}");
}
