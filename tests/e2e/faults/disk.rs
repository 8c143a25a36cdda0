//! A full disk under the server's data: jobs and events wait for room. The disk is a small one in memory, mounted for
//! that server alone; where the system does not let us mount one, this is said and nothing tested.

use std::{fs::File, io::Write, path::Path, sync::mpsc, thread, time::Duration};

use mysql::prelude::Queryable;

use crate::{
    instance::Instance,
    program::{is_alive, wait_at_most},
    server::Server,
};

use super::{
    trial::{PATIENCE, Setup, rounds},
    workload::add_jobs,
};

/// The system's words, the storage engine's and the servers'; or the server ended itself (see [`keep_running`]).
const FULL: &str = "No space left on device|No more room in|is full|the database server is lost";

/// Bytes.
const LEFT: u64 = 20 << 20;

/// Writes until there is no room. What the server has allocated already it may still fill.
fn fill(file: &mut File) {
    for size in [1 << 20, 1 << 12, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
}

/// What systemd does for whoever runs a server: InnoDB ends it when it can't roll back for want of room. Until nobody
/// holds the other end of `test`.
fn keep_running(server: &Server, options: &[&str], filler: &Path, test: &mpsc::Receiver<()>) {
    while test.recv_timeout(Duration::from_millis(50)) == Err(mpsc::RecvTimeoutError::Timeout) {
        if !is_alive(server.node(1).pid) && !filler.exists() {
            server.restart_with(1, options);
        }
    }
}

#[test]
fn disk_of_the_server_is_full() {
    let options: &[&str] = match std::env::var("TEST_SERVER").as_deref() {
        Ok("galera" | "group") => return println!("not tested: nodes of a cluster leave it when their disk is full"),
        // A server that ends does so at once. With its binary log on, it would wait for room a minute at a time.
        Ok("mysql97") => &["--skip-stack-trace", "--skip-log-bin"],
        // Room for what is in the system tablespace.
        _ => &["--innodb-data-file-path=ibdata1:12M;ibdata2:150M:autoextend"],
    };
    let Some(server) = Server::on_small_disk(400 + 50 * rounds(), options) else {
        return println!("not tested: no mounts of one's own here (unshare -m)");
    };
    let instance = Instance::on(&server, "disk_full");
    // Where InnoDB can't extend a table that it has to change or to roll back, MariaDB may end itself and find indexes
    // corrupt when it is back (10.11): only the resources' databases meet the full disk there.
    let is_mysql = server.kind() == "mysql97";
    server.conn().query_drop(format!("SET GLOBAL innodb_file_per_table = {is_mysql}")).unwrap();
    instance.resqctl(["init"]).ok();
    server.conn().query_drop("SET GLOBAL innodb_file_per_table = true").unwrap();
    let filler = server.disk().join("filler");
    thread::scope(|scope| {
        let (_test, ended) = mpsc::channel();
        scope.spawn(|| keep_running(&server, options, &filler, &{ ended }));
        Setup::new(&instance, 1).rounds(|trial| {
            let mut conn = instance.conn();
            // So little is left that more jobs come than are built while the rest fills up.
            let mut file = File::options().create(true).append(true).open(&filler).expect("a file");
            fill(&mut file);
            file.set_len(file.metadata().expect("a file").len() - LEFT).expect("a shorter file");
            add_jobs(&mut conn, 100, &mut trial.random);
            fill(&mut file);
            trial.wait_for_log(FULL);
            drop(file); // or its room is not given back
            std::fs::remove_file(&filler).expect("the filler");
            // MariaDB looks only once a minute whether there is room for a log of its own (Aria's).
            wait_at_most(PATIENCE, "the server", || server.try_conn(1).is_ok());
            FULL
        });
    });
}
