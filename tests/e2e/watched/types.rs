//! Every type of column of both servers, compared with what SELECT says.

use mysql::{Conn, prelude::Queryable};
use serde_json::{Value as Json, json};

use super::{events, instance, resqd, server, wait_until_read};

/// How a value of a column is compared.
#[derive(Clone, Copy)]
enum As {
    /// A JSON number with the digits that SELECT prints.
    Number,
    /// A JSON string with the text that SELECT prints.
    Text,
    /// Base64.
    Bytes,
    /// SELECT's text, with T and Z.
    Instant,
    /// The JSON that SELECT prints; where JSON is text, a string with it.
    Document,
    /// A JSON number, near enough to what SELECT prints.
    Float,
}

/// Type, values as SQL, comparison. A type that a server does not have is left out there.
#[rustfmt::skip]
const COLUMNS: &[(&str, &[&str], As)] = &[
    ("TINYINT", &["-128", "127"], As::Number),
    ("TINYINT UNSIGNED", &["0", "255"], As::Number),
    ("SMALLINT", &["-32768", "32767"], As::Number),
    ("YEAR", &["1901", "2155"], As::Number),
    ("SMALLINT UNSIGNED", &["65535", "1"], As::Number),
    ("MEDIUMINT", &["-8388608", "8388607"], As::Number),
    ("MEDIUMINT UNSIGNED", &["16777215", "1"], As::Number),
    ("INT", &["-2147483648", "2147483647"], As::Number),
    ("INT UNSIGNED ZEROFILL", &["4294967295", "4294967294"], As::Number),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807"], As::Number),
    ("BIGINT UNSIGNED", &["18446744073709551615", "9223372036854775808"], As::Number),
    ("BOOLEAN", &["TRUE", "FALSE"], As::Number),
    ("FLOAT", &["1.5", "-3.25e20"], As::Float),
    ("DOUBLE", &["0.1", "-1.7976931348623157e308"], As::Float),
    ("FLOAT UNSIGNED", &["1.1", "0"], As::Float),
    ("DECIMAL(65,30)", &[
        "-12345678901234567890123456789012345.123456789012345678901234567890",
        "0.000000000000000000000000000001",
    ], As::Text),
    ("DECIMAL(10,0)", &["-9999999999", "0"], As::Text),
    ("DECIMAL(5,5)", &["-0.00001", "0.99999"], As::Text),
    ("BIT(1)", &["b'1'", "b'0'"], As::Number),
    ("BIT(13)", &["b'1000000000001'", "5"], As::Number),
    ("BIT(64)", &["18446744073709551615", "1"], As::Number),
    ("DATE", &["'0000-00-00'", "'9999-12-31'"], As::Text),
    ("TIME", &["'-838:59:59'", "'838:59:59'"], As::Text),
    ("TIME(1)", &["'-00:00:00.1'", "'23:59:59.9'"], As::Text),
    ("TIME(3)", &["'-10:11:12.013'", "'-00:00:01.001'"], As::Text),
    ("TIME(6)", &["'-838:59:58.999999'", "'00:00:00.000001'"], As::Text),
    ("DATETIME", &["'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'"], As::Text),
    ("DATETIME(2)", &["'1000-01-01 00:00:00.01'", "'2026-02-03 04:05:06.70'"], As::Text),
    ("DATETIME(6)", &["'0001-01-01 00:00:00.000001'", "'2026-11-26 01:02:03.999999'"], As::Text),
    ("TIMESTAMP NULL", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"], As::Instant),
    ("TIMESTAMP(3) NULL", &["'2026-02-28 23:59:59.012'", "'2024-02-29 12:00:00.5'"], As::Instant),
    ("TIMESTAMP(6) NULL", &["'2001-09-09 01:46:40.000001'", "'1999-12-31 23:59:59.999999'"], As::Instant),
    ("GEOMETRY", &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)')"], As::Bytes),
    ("VECTOR(3)", &["STRING_TO_VECTOR('[1,2,3]')", "STRING_TO_VECTOR('[0,0,0]')"], As::Bytes),
    ("CHAR(5) CHARACTER SET latin1", &["'é€'", "''"], As::Text),
    ("CHAR(255) CHARACTER SET utf8mb4", &["'größe 🎉'", "'a'"], As::Text),
    ("VARCHAR(20) CHARACTER SET latin1", &["'ÿþý'", "'plain'"], As::Text),
    ("VARCHAR(300) CHARACTER SET utf8mb4", &["'日本\\\\ \"quoted\" \\n'", "'\\0'"], As::Text),
    ("VARCHAR(20) CHARACTER SET utf8mb3", &["'Ω'", "'x'"], As::Text),
    ("VARCHAR(20) CHARACTER SET ascii", &["'ascii'", "''"], As::Text),
    ("VARCHAR(20) CHARACTER SET ucs2", &["'日本'", "'é'"], As::Text),
    ("VARCHAR(20) CHARACTER SET cp1251", &["'Жук'", "'abc'"], As::Text),
    ("VARCHAR(20) CHARACTER SET sjis", &["'日本'", "'abc'"], As::Text),
    ("VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", &["'bin'", "'ä'"], As::Text),
    ("TINYTEXT CHARACTER SET utf8mb4", &["'tiny'", "'é'"], As::Text),
    ("TEXT CHARACTER SET latin1", &["'text é'", "''"], As::Text),
    ("MEDIUMTEXT CHARACTER SET utf8mb4", &["REPEAT('ä', 40000)", "'m'"], As::Text),
    ("LONGTEXT CHARACTER SET utf8mb4", &["'long'", "''"], As::Text),
    ("BINARY(4)", &["X'00FF'", "X'01020304'"], As::Bytes),
    ("VARBINARY(300)", &["X'00'", "X'FFFEFD'"], As::Bytes),
    ("TINYBLOB", &["X'00FF'", "''"], As::Bytes),
    ("BLOB", &["REPEAT(X'00FF', 5000)", "X'01'"], As::Bytes),
    ("LONGBLOB", &["X'0102'", "''"], As::Bytes),
    ("ENUM('a','größe','c') CHARACTER SET latin1", &["'größe'", "'c'"], As::Text),
    ("ENUM('x','日本') CHARACTER SET utf8mb4", &["'日本'", "'x'"], As::Text),
    ("SET('a','b','é') CHARACTER SET utf8mb4", &["'a,é'", "''"], As::Text),
    ("JSON", &[r#"'{"a":[1,-2,3.5,true,null,"é\\"",{"b":18446744073709551615}],"c":{}}'"#, "'[]'"], As::Document),
    ("VARCHAR(2000) COMPRESSED CHARACTER SET utf8mb4", &["REPEAT('ab', 900)", "'short'"], As::Text),
    ("BLOB COMPRESSED", &["REPEAT(X'0001', 900)", "X'01'"], As::Bytes),
];

/// The columns that this server has.
fn columns(conn: &mut Conn) -> Vec<&'static (&'static str, &'static [&'static str], As)> {
    let has = |conn: &mut Conn, kind: &str| {
        let created = conn.query_drop(format!("CREATE TABLE probe (v {kind})"));
        let _ = conn.query_drop("DROP TABLE IF EXISTS probe");
        created.is_ok()
    };
    COLUMNS.iter().filter(|(kind, _, _)| has(conn, kind)).collect()
}

fn base64_of(conn: &mut Conn, hex: &str) -> String {
    let text: String = conn.query_first(format!("SELECT TO_BASE64(X'{hex}')")).unwrap().unwrap();
    text.replace('\n', "")
}

/// What the payload must have for a value that SELECT prints as `text`, in hexadecimal too.
fn expected(conn: &mut Conn, comparison: As, text: Option<String>, hex: Option<String>, is_mariadb: bool) -> Json {
    let (Some(text), Some(hex)) = (text, hex) else { return Json::Null };
    match comparison {
        As::Number | As::Float => serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}")),
        As::Text => json!(text),
        As::Bytes => json!(base64_of(conn, &hex)),
        As::Instant => json!(format!("{}Z", text.replace(' ', "T"))),
        As::Document if is_mariadb => json!(text),
        As::Document => serde_json::from_str(&text).unwrap(),
    }
}

#[test]
fn values_of_every_type_are_those_that_select_prints() {
    let (server, _turn) = server();
    let instance = instance(server, "wtypes");
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wtypes_db; USE wtypes_db; SET SESSION sql_mode = '', time_zone = '+00:00'")
        .unwrap();
    let columns = columns(&mut conn);
    let is_mariadb = conn.query_first::<String, _>("SELECT VERSION()").unwrap().unwrap().contains("MariaDB");
    println!("{} of {} types", columns.len(), COLUMNS.len());
    let list: Vec<String> = columns.iter().zip(0..).map(|((kind, _, _), n)| format!("c{n} {kind}")).collect();
    conn.query_drop(format!(
        "CREATE TABLE t (id INT PRIMARY KEY, {}, g INT AS (id + 1) STORED, v INT AS (id + 2) VIRTUAL)",
        list.join(", ")
    ))
    .unwrap();
    let _running = resqd(&instance, "[[watch]]\ntable = 'wtypes_db.t'\n").spawn_ready();
    wait_until_read(&instance);
    let names: Vec<String> = (0..columns.len()).map(|n| format!("c{n}")).collect();
    for row in 0..2 {
        let values: Vec<&str> = columns.iter().map(|(_, values, _)| values[row]).collect();
        conn.query_drop(format!("INSERT INTO t (id, {}) VALUES ({row}, {})", names.join(", "), values.join(", ")))
            .unwrap();
    }
    conn.query_drop("INSERT INTO t (id) VALUES (2)").unwrap();
    let found = events(&instance, "t.insert", 3);
    for (id, (_, payload)) in found.iter().enumerate() {
        let after = payload["after"].as_object().unwrap();
        assert_eq!(
            (&payload["before"], &payload["db"], &payload["op"]),
            (&Json::Null, &json!("wtypes_db"), &json!("insert"))
        );
        assert_eq!((&after["id"], &after["g"], &after["v"]), (&json!(id), &json!(id + 1), &json!(id + 2)));
        for (name, (kind, _, comparison)) in names.iter().zip(&columns) {
            let text = match comparison {
                As::Number | As::Float => format!("{name} + 0"),
                As::Bytes => format!("HEX({name})"),
                _ => format!("CONVERT({name} USING utf8mb4)"),
            };
            let (text, hex): (Option<String>, Option<String>) =
                conn.query_first(format!("SELECT {text}, HEX({name}) FROM t WHERE id = {id}")).unwrap().unwrap();
            let expected = expected(&mut conn, *comparison, text, hex, is_mariadb);
            let same = match comparison {
                As::Float if !expected.is_null() => {
                    let (a, b) = (after[name].as_f64().unwrap(), expected.as_f64().unwrap());
                    (a - b).abs() <= b.abs() * 1e-6
                }
                _ => after[name] == expected,
            };
            assert!(same, "{kind} of row {id}: {} is not {expected}", after[name]);
        }
    }
}
