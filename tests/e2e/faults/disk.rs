//! A full disk under the server's data: jobs and events wait for room. The disk is a small one in memory, mounted for
//! that server alone; where the system does not let us mount one, this is said and nothing tested.

use std::{fs::File, io::Write};

use crate::{instance::Instance, server::Server};

use super::{trial::Setup, workload::add_jobs};

const MIB: u32 = 500;
/// The system's words and the servers' own.
const FULL: &str = "No space left on device|is full";

/// Writes until there is no room. What the server has allocated already it may still fill.
fn fill(path: &std::path::Path) {
    let mut file = File::create(path).expect("a file");
    for size in [1 << 20, 1 << 12, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
}

#[test]
fn disk_of_the_server_is_full() {
    // With its binary log on, MySQL ends itself when that can't be written (binlog_error_action): a killed server.
    let options: &[&str] = match std::env::var("TEST_SERVER").as_deref() {
        Ok("mysql97") => &["--skip-log-bin"],
        Ok("galera" | "group") => return println!("not tested: nodes of a cluster leave it when their disk is full"),
        _ => &[],
    };
    let Some(server) = Server::on_small_disk(MIB, options) else {
        return println!("not tested: no mounts of one's own here (unshare -m)");
    };
    let instance = Instance::on(&server, "disk_full");
    instance.resqctl(["init"]).ok();
    let filler = server.root(1).with_file_name("filler");
    Setup::new(&instance, 1).rounds(|trial| {
        let mut conn = instance.conn();
        // More than are built while the disk fills up.
        add_jobs(&mut conn, 100, &mut trial.random);
        fill(&filler);
        trial.wait_for_log(FULL);
        std::fs::remove_file(&filler).expect("the filler");
        FULL
    });
}
