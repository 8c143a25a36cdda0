//! Locks that others hold for long, and a server that refuses writes: a locked queue, a backup's global lock, a transaction
//! that stays open, a server that is read-only for a while.

use mysql::{Conn, prelude::Queryable};

use resq_test_support::{Instance, Server, sessions, wait_at_most, wait_until};

use super::{
    checks::Trace,
    scenario::{PATIENCE, Scenario},
};

/// Waits until a session on this server waits for a lock that is not a row lock.
fn wait_for_waiting(conn: &mut Conn, of: &str) {
    let waiting = format!("SELECT COUNT(*) FROM {} WHERE state LIKE 'Waiting for%lock%' {of}", sessions());
    wait_until("a session to wait for the lock", || conn.query_first::<u64, _>(&waiting).unwrap() > Some(0));
}

#[test]
fn queue_is_locked_by_ddl() {
    let instance = Instance::ready("lock_queue");
    let of = format!("AND DB = '{}'", instance.global_db);
    Scenario::new(&instance, 1).rounds(|_| {
        // A session that has locked tables reads no others.
        let (mut conn, mut observer) = (instance.conn(), instance.conn());
        conn.query_drop("LOCK TABLES res_queue WRITE").unwrap();
        wait_for_waiting(&mut observer, &of);
        conn.query_drop("ALTER TABLE res_queue COMMENT = 'changed under way'").unwrap();
        conn.query_drop("UNLOCK TABLES").unwrap();
        Trace::Any
    });
}

#[test]
fn everything_is_locked_by_a_backup() {
    let server = Server::own();
    let instance = Instance::on(&server, "lock_backup");
    instance.resqctl(["init"]).ok();
    Scenario::new(&instance, 1).rounds(|_| {
        let mut conn = instance.conn();
        conn.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
        wait_for_waiting(&mut conn, "");
        conn.query_drop("UNLOCK TABLES").unwrap();
        Trace::Any
    });
}

#[test]
fn transaction_stays_open_for_long() {
    let instance = Instance::ready("lock_open");
    Scenario::new(&instance, 1).rounds(|system| {
        let (mut conn, mut open) = (instance.conn(), instance.conn());
        let token = format!("j{:016x}", system.random.u64(..));
        open.query_drop("START TRANSACTION").unwrap();
        open.query_drop(format!("INSERT INTO truth VALUES ('{token}', TRUE), ('{}', FALSE)", &token[1..])).unwrap();
        open.query_drop(format!("INSERT INTO res_queue (res_name) VALUES ('{token}')")).unwrap();
        open.query_drop(format!(r#"CALL publish('Own.late', '{{"token":"{}"}}')"#, &token[1..])).unwrap();
        let head = "SELECT head_seq FROM res_log";
        let before: u64 = conn.query_first(head).unwrap().unwrap();
        // Events of other transactions are numbered meanwhile.
        conn.query_drop(format!("INSERT INTO truth VALUES ('{token}_', FALSE)")).unwrap();
        conn.query_drop(format!(r#"CALL publish('Own.early', '{{"token":"{token}_"}}')"#)).unwrap();
        wait_at_most(PATIENCE, "events to be numbered before it", || {
            conn.query_first::<u64, _>(head).unwrap() > Some(before)
        });
        open.query_drop("COMMIT").unwrap();
        Trace::Any
    });
}

/// ER_OPTION_PREVENTS_STATEMENT.
const REFUSED: Trace = Trace::Cause("1290");

#[test]
fn server_is_read_only_for_a_while() {
    let server = Server::own();
    let instance = Instance::on(&server, "lock_read_only");
    instance.resqctl(["init"]).ok();
    // An account with all privileges may write to a read-only server.
    let mut conn = server.conn();
    conn.query_drop("CREATE USER 'plain'@'%' IDENTIFIED BY 'plain'").unwrap();
    conn.query_drop(
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE TEMPORARY TABLES, \
         LOCK TABLES, EXECUTE, CREATE ROUTINE, ALTER ROUTINE, TRIGGER, PROCESS ON *.* TO 'plain'@'%'",
    )
    .unwrap();
    let daemon_env = vec![("MYSQL_USER", "plain".into()), ("MYSQL_PASSWORD", "plain".into())];
    Scenario { daemon_env, ..Scenario::new(&instance, 1) }.rounds(|system| {
        server.kill9(1);
        server.restart_with(1, &["--read-only=1"]);
        let mut conn = server.conn();
        // A group's node takes writes as soon as it has joined.
        if conn.query_first("SELECT @@read_only").unwrap() == Some(false) {
            return Trace::Any;
        }
        system.wait_for(REFUSED);
        conn.query_drop("SET GLOBAL read_only = 0").unwrap();
        REFUSED
    });
}
