//! A database with every kind of object, what may be done to it by hand, and what `check` then reports.

/// A database with every kind of object, whose texts name the database and the resource.
pub const FILES: &[(&str, &str)] = &[
    ("res_db/10.sql", "CREATE DATABASE {{RES_DB_NAME}} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"),
    (
        "res_tables/10.sql",
        "CREATE TABLE p (
           id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
           a VARCHAR(20) DEFAULT 'x''y',
           b DECIMAL(10,2) NOT NULL DEFAULT 0,
           d TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
           e INT DEFAULT 5,
           g INT GENERATED ALWAYS AS (e + 1) STORED,
           j JSON,
           k ENUM('a', 'b') COMMENT 'letters',
           owner VARCHAR(255) DEFAULT {{RES_NAME}},
           owner_id INT DEFAULT {{RES_ID}},
           CHECK (e > 0), CONSTRAINT named CHECK (a <> 'no''t'), KEY (e), KEY ea (e, a(5)), UNIQUE KEY u (b, id)
         ) ENGINE = InnoDB COMMENT 'things';
         CREATE TABLE c (id INT UNSIGNED, pid INT UNSIGNED, FOREIGN KEY (pid) REFERENCES p (id) ON DELETE CASCADE,
           CONSTRAINT to_p FOREIGN KEY (id) REFERENCES p (id)) ENGINE = InnoDB;
         CREATE TABLE plain (n INT PRIMARY KEY) ENGINE = InnoDB;
         CREATE TABLE hashed (n INT PRIMARY KEY) ENGINE = InnoDB PARTITION BY HASH (n) PARTITIONS 4;
         CREATE TABLE ranged (n INT PRIMARY KEY) ENGINE = InnoDB
           PARTITION BY RANGE (n) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))",
    ),
    (
        "res_tables/20.sql",
        "CREATE VIEW v AS SELECT p.id, a, {{RES_NAME}} AS name, {{RES_ID}} AS number FROM p WHERE a <> 'it''s' AND id IN (1, 2);
         CREATE SQL SECURITY INVOKER VIEW w AS SELECT n FROM {{RES_DB_NAME}}.plain WHERE n > 1 WITH CHECK OPTION;
         CREATE TRIGGER t BEFORE INSERT ON p FOR EACH ROW
           SET NEW.a = CONCAT(NEW.a, {{RES_NAME}}), NEW.e = (SELECT COUNT(*) FROM {{RES_DB_NAME}}.c);
         CREATE PROCEDURE pr (IN x INT, OUT y VARCHAR(10)) SELECT 'one' INTO y FROM p LIMIT 1;
         CREATE FUNCTION fu (x INT) RETURNS INT DETERMINISTIC NO SQL RETURN x + 1;
         CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO DELETE FROM c WHERE id = 3",
    ),
];

/// What is done by hand, and what is reported. The database is the current one.
pub const CHANGES: &[(&str, &[&str])] = &[
    ("ALTER TABLE p DROP COLUMN k", &["column p.k: missing"]),
    ("ALTER TABLE p ADD COLUMN more INT", &["column p.more: unexpected"]),
    ("ALTER TABLE p ALTER e SET DEFAULT 6", &["column p.e: default is 6, expected 5"]),
    ("ALTER TABLE p ALTER a SET DEFAULT 'x'", &["column p.a: default is 'x', expected 'x''y'"]),
    ("ALTER TABLE p ALTER owner SET DEFAULT 'me'", &["column p.owner: default is 'me', expected 'r4'"]),
    (
        "ALTER TABLE p MODIFY b DECIMAL(12,2) NOT NULL DEFAULT 0",
        &["column p.b: type is decimal(12,2), expected decimal(10,2)"],
    ),
    ("ALTER TABLE p MODIFY b DECIMAL(10,2) NULL DEFAULT 0", &["column p.b: nullable is yes, expected no"]),
    (
        "ALTER TABLE p MODIFY k ENUM('a', 'b') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'letters'",
        &["column p.k: collation is utf8mb4_bin, expected utf8mb4_unicode_ci"],
    ),
    ("ALTER TABLE p MODIFY k ENUM('a', 'b')", &["column p.k: comment is none, expected letters"]),
    (
        "ALTER TABLE p MODIFY k ENUM('a', 'b') COMMENT 'letters' AFTER id",
        &[
            "table p: order of columns is id, k, a, b, d, e, g, j, owner, owner_id, expected id, a, b, d, e, g, j, k, owner, \
           owner_id",
        ],
    ),
    (
        "ALTER TABLE p MODIFY d TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
        &["column p.d: extra is none, expected on update current_timestamp"],
    ),
    (
        "ALTER TABLE p DROP COLUMN g, ADD COLUMN g INT GENERATED ALWAYS AS (e + 2) STORED AFTER e",
        &["column p.g: expression is ( e + 2 ), expected ( e + 1 )"],
    ),
    ("DROP INDEX e ON p", &["index p (e): missing"]),
    ("DROP INDEX ea ON p; CREATE INDEX ea ON p (e, a)", &["index p.ea: columns is (e, a), expected (e, a(5))"]),
    ("DROP INDEX u ON p; CREATE INDEX u ON p (b, id)", &["index p.u: unique is no, expected yes"]),
    ("CREATE INDEX extra ON p (d)", &["index p.extra: unexpected"]),
    ("ALTER TABLE c DROP FOREIGN KEY c_ibfk_1", &["foreign key c (pid) to p (id): missing"]),
    (
        "ALTER TABLE c DROP FOREIGN KEY to_p; ALTER TABLE c ADD CONSTRAINT to_p FOREIGN KEY (id) REFERENCES p (id) ON DELETE SET NULL",
        &["foreign key c.to_p: on delete is SET NULL, expected RESTRICT"],
    ),
    ("ALTER TABLE p DROP CONSTRAINT named", &["check p.named: missing"]),
    (
        "ALTER TABLE p DROP CONSTRAINT named; ALTER TABLE p ADD CONSTRAINT named CHECK (a <> 'no')",
        &["check p.named: expression is ( a <> 'no' ), expected ( a <> 'no''t' )"],
    ),
    ("DROP TABLE plain", &["table plain: missing", "view w: no longer compiles"]),
    ("CREATE TABLE notes (n INT)", &["table notes: unexpected"]),
    ("ALTER TABLE plain ENGINE = MyISAM", &["table plain: engine is MyISAM, expected InnoDB"]),
    ("ALTER TABLE plain COMMENT 'x'", &["table plain: comment is x, expected none"]),
    ("ALTER TABLE plain COLLATE utf8mb4_bin", &["table plain: collation is utf8mb4_bin, expected utf8mb4_unicode_ci"]),
    ("ALTER TABLE plain ROW_FORMAT = REDUNDANT", &["table plain: options is row_format=redundant, expected none"]),
    ("ALTER TABLE hashed ADD PARTITION PARTITIONS 1", &["table hashed: partitions is HASH (n) 5, expected HASH (n) 4"]),
    (
        "ALTER TABLE plain ADD COLUMN m INT, DROP COLUMN n",
        &[
            "column plain.m: unexpected",
            "column plain.n: missing",
            "index plain.PRIMARY: missing",
            "view w: no longer compiles",
        ],
    ),
    ("DROP VIEW v", &["view v: missing"]),
    (
        "CREATE OR REPLACE SQL SECURITY INVOKER VIEW w AS SELECT n FROM plain WHERE n > 2 WITH CHECK OPTION",
        &["view w: text is … plain . n > 2 ), expected … plain . n > 1 )"],
    ),
    (
        "CREATE OR REPLACE SQL SECURITY DEFINER VIEW w AS SELECT n FROM plain WHERE n > 1 WITH CHECK OPTION",
        &["view w: security is DEFINER, expected INVOKER"],
    ),
    ("DROP TRIGGER t", &["trigger t: missing"]),
    (
        "DROP TRIGGER t; CREATE TRIGGER t BEFORE INSERT ON p FOR EACH ROW SET NEW.a = 'b'",
        &["trigger t: text is … NEW . a = 'b', expected … NEW . a = CONCAT ( NEW . …"],
    ),
    (
        "DROP PROCEDURE pr; CREATE PROCEDURE pr (IN x INT, OUT y VARCHAR(10)) SELECT 'two' INTO y FROM p LIMIT 1",
        &["procedure pr: text is SELECT 'two' INTO y FROM p LIMIT 1, expected SELECT 'one' INTO y FROM p LIMIT 1"],
    ),
    (
        "DROP FUNCTION fu; CREATE FUNCTION fu (x BIGINT) RETURNS INT DETERMINISTIC NO SQL RETURN x + 1",
        &["function fu: parameters is IN x bigint, expected IN x int"],
    ),
    ("ALTER EVENT ev ON SCHEDULE EVERY 2 DAY", &["event ev: schedule is every 2 DAY, expected every 1 DAY"]),
    ("ALTER EVENT ev DISABLE", &["event ev: status is DISABLED, expected ENABLED"]),
    ("ALTER DATABASE COLLATE utf8mb4_bin", &["database: collation is utf8mb4_bin, expected utf8mb4_unicode_ci"]),
    ("DROP DATABASE IF EXISTS {db}", &["database: missing"]),
];

/// What leaves a database as it should be.
pub const HARMLESS: &[&str] = &[
    "INSERT INTO plain VALUES (1); ALTER TABLE p AUTO_INCREMENT = 1000; ALTER TABLE p FORCE; ANALYZE TABLE p",
    "ALTER TABLE p MODIFY e INT(7) DEFAULT '5', MODIFY id INT(5) UNSIGNED NOT NULL AUTO_INCREMENT",
    "ALTER TABLE p ADD COLUMN x INT, ADD KEY (x); ALTER TABLE p DROP COLUMN x",
    "ALTER TABLE p DROP INDEX e, ADD INDEX e_2 (e)",
    "ALTER TABLE c DROP FOREIGN KEY c_ibfk_1; ALTER TABLE c ADD FOREIGN KEY (pid) \
     REFERENCES {db}.p (id) ON DELETE CASCADE ON UPDATE NO ACTION",
    "ALTER TABLE p DROP CONSTRAINT {check}; ALTER TABLE p ADD CHECK (`e`>0)",
    "ALTER TABLE p DROP COLUMN j; ALTER TABLE p ADD COLUMN j JSON AFTER g",
    "ALTER TABLE ranged ADD PARTITION (PARTITION p2 VALUES LESS THAN (30)); ALTER TABLE ranged DROP PARTITION p0",
    "CREATE OR REPLACE DEFINER = CURRENT_USER VIEW v AS SELECT `{db}`.`p`.`id`, `p`.`a`, {name} AS name, {id} AS number \
     FROM {db}.p WHERE (a <> _utf8mb4'it''s') AND p.id IN (1,2)",
    "DROP TRIGGER t; CREATE TRIGGER t BEFORE INSERT ON p FOR EACH ROW /* for a reason */ SET  NEW.a=CONCAT(NEW.a, {name}),\n\
     NEW.e = (SELECT COUNT(*) FROM `{db}`.`c`)",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES'; DROP PROCEDURE pr; \
     CREATE PROCEDURE pr (IN x INT(3), OUT y VARCHAR(10)) SELECT 'one' INTO y FROM p LIMIT 1",
    "DROP EVENT ev; CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO DELETE FROM c WHERE id = 3",
];
