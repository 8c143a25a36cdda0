//! A replica of a server under test, made from a copy of its files.

use std::fs;
use std::process::Command;

use mysql::Row;
use mysql::prelude::Queryable;

use crate::server::{Server, testdb};

impl Server {
    /// A replica of this single server, by file and position. This one is killed and copied, and started again with
    /// `options`; the replica has them too, and what a replica needs. Neither has written anything since.
    pub fn replicated(&self, options: &[&str]) -> Server {
        self.kill9(1);
        let dir = tempfile::Builder::new().prefix("resq-e2e-").tempdir().expect("a temporary folder").keep();
        fs::create_dir(dir.join("n1")).expect("an empty folder");
        let copied = Command::new("cp").arg("-a").arg(self.dir().join("n1/data")).arg(dir.join("n1/data")).status();
        assert!(copied.is_ok_and(|status| status.success()), "cp copies the data");
        // By which servers of MySQL tell each other apart.
        let _ = fs::remove_file(dir.join("n1/data/auto.cnf"));
        for name in ["kind", "ready"] {
            fs::copy(self.dir().join(name), dir.join(name)).expect("testdb.sh wrote it");
        }
        self.restart_with(1, options);
        let mut conn = self.conn();
        // The servers' own sessions keep to what a hostile one presets, and fail by this.
        conn.query_drop("SET GLOBAL sql_select_limit = DEFAULT, GLOBAL sql_big_selects = 1").unwrap();
        let status = conn.query_first("SHOW BINARY LOG STATUS").or_else(|_| conn.query_first("SHOW MASTER STATUS"));
        let status: Row = status.unwrap().expect("it has a binary log");
        let (file, pos): (String, u64) = (status.get(0).unwrap(), status.get(1).unwrap());

        let of_a_replica = ["--server-id=2", "--log-slave-updates", "--skip-slave-start"];
        let args = [options, &of_a_replica].concat().join(" ");
        let replica = Server::run(testdb(), self.kind(), dir, &[("ARGS", &args)]);
        let (port, mariadb) = (self.port(), self.kind().starts_with("mariadb"));
        replica
            .conn()
            .query_drop(match mariadb {
                true => format!(
                    "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'root', \
                     MASTER_LOG_FILE = '{file}', MASTER_LOG_POS = {pos}; START SLAVE"
                ),
                false => format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'root', \
                     SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {pos}, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA"
                ),
            })
            .unwrap();
        replica
    }

    /// Makes a replica a server of its own.
    pub fn promote(&self) {
        self.conn()
            .query_drop(match self.kind().starts_with("mariadb") {
                true => "STOP SLAVE; RESET SLAVE ALL",
                false => "STOP REPLICA; RESET REPLICA ALL",
            })
            .unwrap();
    }
}
