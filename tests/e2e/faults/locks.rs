//! Locks and switches of the server's that others hold for long: a locked queue, a backup's global lock, a
//! transaction that stays open, a server that is read-only for a while.

use mysql::{Conn, prelude::Queryable};

use crate::{
    instance::Instance,
    program::{wait_at_most, wait_until},
    server::Server,
};

use super::trial::{PATIENCE, Setup};

/// Waits until a session waits for a lock other than for a row, on this server.
fn wait_for_waiting(conn: &mut Conn, of: &str) {
    let waiting =
        format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for%lock%' {of}");
    wait_until("somebody to wait for the lock", || conn.query_first::<u64, _>(&waiting).unwrap() > Some(0));
}

#[test]
fn queue_is_locked_by_ddl() {
    let instance = Instance::ready("lock_queue");
    let of = format!("AND DB = '{}' AND INFO LIKE '%res_queue%'", instance.global_db);
    Setup::new(&instance, 1).rounds(|_| {
        let mut conn = instance.conn();
        conn.query_drop("LOCK TABLES res_queue WRITE").unwrap();
        wait_for_waiting(&mut conn, &of);
        conn.query_drop("ALTER TABLE res_queue COMMENT = 'changed under way'").unwrap();
        conn.query_drop("UNLOCK TABLES").unwrap();
        ""
    });
}

#[test]
fn everything_is_locked_by_a_backup() {
    let server = Server::own();
    let instance = Instance::on(&server, "lock_backup");
    instance.resqctl(["init"]).ok();
    Setup::new(&instance, 1).rounds(|_| {
        let mut conn = instance.conn();
        conn.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
        wait_for_waiting(&mut conn, "");
        conn.query_drop("UNLOCK TABLES").unwrap();
        ""
    });
}

#[test]
fn transaction_stays_open_for_long() {
    let instance = Instance::ready("lock_open");
    Setup::new(&instance, 1).rounds(|trial| {
        let (mut conn, mut open) = (instance.conn(), instance.conn());
        let token = format!("j{:016x}", trial.random.u64(..));
        open.query_drop("START TRANSACTION").unwrap();
        open.query_drop(format!("INSERT INTO truth VALUES ('{token}', TRUE), ('{}', FALSE)", &token[1..])).unwrap();
        open.query_drop(format!("INSERT INTO res_queue (res_name) VALUES ('{token}')")).unwrap();
        open.query_drop(format!(r#"CALL publish('Own.late', '{{"token":"{}"}}')"#, &token[1..])).unwrap();
        let head = "SELECT head_seq FROM res_log";
        let before: u64 = conn.query_first(head).unwrap().unwrap();
        // Events of others are numbered meanwhile, past the open one.
        conn.query_drop(format!("INSERT INTO truth VALUES ('{token}_', FALSE)")).unwrap();
        conn.query_drop(format!(r#"CALL publish('Own.early', '{{"token":"{token}_"}}')"#)).unwrap();
        wait_at_most(PATIENCE, "events to pass it", || conn.query_first::<u64, _>(head).unwrap() > Some(before));
        open.query_drop("COMMIT").unwrap();
        ""
    });
}

#[test]
fn server_is_read_only_for_a_while() {
    let server = Server::own();
    let instance = Instance::on(&server, "lock_read_only");
    instance.resqctl(["init"]).ok();
    // Whoever may do anything may also write to a read-only server.
    let mut conn = server.conn();
    conn.query_drop("CREATE USER 'mere'@'%' IDENTIFIED BY 'mere'").unwrap();
    conn.query_drop(
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE TEMPORARY TABLES, \
         LOCK TABLES, EXECUTE, CREATE ROUTINE, ALTER ROUTINE, TRIGGER, PROCESS ON *.* TO 'mere'@'%'",
    )
    .unwrap();
    let daemon_env = vec![("MYSQL_USER", "mere".into()), ("MYSQL_PASSWORD", "mere".into())];
    Setup { daemon_env, ..Setup::new(&instance, 1) }.rounds(|trial| {
        server.kill9(1);
        server.restart_with(1, &["--read-only=1"]);
        let mut conn = server.conn();
        // A group's node takes writes as soon as it has joined.
        if conn.query_first("SELECT @@read_only").unwrap() == Some(false) {
            return "";
        }
        trial.wait_for_log("ERROR 1290");
        conn.query_drop("SET GLOBAL read_only = 0").unwrap();
        "ERROR 1290"
    });
}
