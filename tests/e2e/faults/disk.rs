//! A full disk under the server's data: jobs and events wait for room. The disk is a small one in memory, mounted for
//! that server alone; where the system does not allow such a mount, the test reports that and tests nothing.

use std::{fs::File, io::Write, path::Path, sync::mpsc, thread, time::Duration};

use mysql::prelude::Queryable;

use resq_test_support::{Instance, Server, is_alive, not_tested, wait_at_most};

use super::{
    checks::Trace,
    scenario::{PATIENCE, Scenario, rounds},
    workload::add_jobs,
};

/// Bytes left free before the jobs come.
const LEFT: u64 = 20 << 20;

/// Writes until there is no room. The server may still fill what it has already allocated.
pub fn fill(file: &mut File) {
    for size in [1 << 20, 1 << 12, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
}

/// Restarts the server as systemd would: InnoDB ends it when it cannot roll back for lack of space. Returns when the
/// sender of `test` is dropped.
pub fn keep_running(server: &Server, options: &[&str], filler: &Path, test: &mpsc::Receiver<()>) {
    while test.recv_timeout(Duration::from_millis(50)) == Err(mpsc::RecvTimeoutError::Timeout) {
        if !is_alive(server.node(1).pid) && !filler.exists() {
            server.restart_with(1, options);
        }
    }
}

/// The options of a server whose disk gets full. None: it is not tested.
pub fn options() -> Option<&'static [&'static str]> {
    match Server::shared().kind() {
        "galera" | "group" => {
            println!("not tested: nodes of a cluster leave it when their disk is full");
            None
        }
        // It then ends without delay. With its binary log on it would wait for space, a minute at a time.
        "mysql97" => Some(&["--skip-stack-trace", "--skip-log-bin"]),
        // Space for the system tablespace.
        _ => Some(&["--innodb-data-file-path=ibdata1:12M;ibdata2:150M:autoextend"]),
    }
}

#[test]
fn disk_of_the_server_is_full() {
    let Some(options) = options() else { return };
    let Some(server) = Server::on_small_disk(400 + 50 * rounds(), options) else {
        return not_tested("this system allows no private mounts (unshare -m)");
    };
    let instance = Instance::on(&server, "disk_full");
    // MariaDB 10.11 may end itself and find corrupt indexes afterwards when InnoDB cannot extend a table that it has to
    // change or roll back: there only the resources' databases meet the full disk.
    let is_mysql = server.kind() == "mysql97";
    server.conn().query_drop(format!("SET GLOBAL innodb_file_per_table = {is_mysql}")).unwrap();
    instance.resqctl(["init"]).ok();
    server.conn().query_drop("SET GLOBAL innodb_file_per_table = true").unwrap();
    let filler = server.disk().join("filler");
    thread::scope(|scope| {
        let (_test, ended) = mpsc::channel();
        scope.spawn(|| keep_running(&server, options, &filler, &{ ended }));
        Scenario::new(&instance, 1).rounds(|system| {
            let mut conn = instance.conn();
            // So little is left that the disk is full before all of the jobs are built.
            let mut file = File::options().create(true).append(true).open(&filler).expect("a file");
            fill(&mut file);
            file.set_len(file.metadata().expect("a file").len() - LEFT).expect("a shorter file");
            add_jobs(&mut conn, 100, &mut system.random);
            fill(&mut file);
            // The causes are worded by the system, the storage engine and the server; or the server has ended itself.
            system.wait_for(Trace::Warning);
            drop(file); // or its space is not freed
            std::fs::remove_file(&filler).expect("the filler");
            // MariaDB checks only once a minute whether there is space for the log of its Aria engine.
            wait_at_most(PATIENCE, "the server", || server.try_conn(1).is_ok());
            Trace::Warning
        });
    });
}
