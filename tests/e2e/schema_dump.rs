//! Backups of resq's own objects, made and restored with the server's own programs.

use mysql::prelude::Queryable;
use resq_test_support::{Doctor, Instance, Program, Server, Verdict, wait_until};

#[test]
fn documented_dump_is_complete_and_an_incomplete_one_is_noticed() {
    let source = Server::shared();
    if source.is_hostile() {
        return; // its own client cannot restore: sessions are read-only there
    }
    let client = source.client();
    let instance = Instance::ready("dumped");
    instance.resqctl(["add", "before"]).ok();
    let mysqldump = client.with_file_name("mysqldump");
    let dump = || match mysqldump.exists() {
        true => Program::new(&mysqldump),
        false => Program::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/testtool.sh")).arg("mariadb-dump"),
    };
    let run = |server: &Server, program: Program| {
        let port = server.port().to_string();
        program.args(["--no-defaults", "-h127.0.0.1", "-uroot", "-P", &port, "--protocol=tcp"])
    };
    let target = Server::own();
    let restored = Instance::on(&target, "dumped");
    let gtid =
        if source.kind() == "mysql97" || source.kind() == "group" { &["--set-gtid-purged=OFF"][..] } else { &[] };
    for (options, is_complete) in [
        (&["--single-transaction", "--routines", "--triggers", "--events"][..], true),
        (&["--single-transaction", "--skip-triggers"], false),
    ] {
        let text = run(source, dump()).args(gtid).args(options).args(["--databases", &instance.global_db]).ok();
        target.conn().query_drop(format!("DROP DATABASE IF EXISTS {}", instance.global_db)).unwrap();
        // A client of 10.5 does not know the first line of newer dumps.
        let is_first = source.kind() == "mariadb105" && text.starts_with("/*M!999999");
        let text = if is_first { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
        let finished = run(&target, Program::new(&client)).run_with(text);
        assert_eq!(finished.code(), Some(0), "{finished}");
        if !is_complete {
            let refused = restored.resqd().expect_code(1);
            assert!(refused.stderr.contains("res_number"), "{refused}");
            let doctor = Doctor::of(restored.resqctl(["doctor"]).expect_code(1));
            assert_eq!(["procedures", "triggers"].map(|check| doctor.verdict(check)), [Verdict::Failed; 2]);
            restored.resqctl(["init"]).ok();
        }
        let doctor = Doctor::of(restored.resqctl(["doctor"]).expect_code(0));
        let checks = ["tables", "procedures", "triggers", "publish"];
        assert_eq!(checks.map(|check| doctor.verdict(check)), [Verdict::Good; 4], "{}", doctor.finished);
        let resqd = restored.resqd().spawn_ready();
        let mut conn = restored.conn();
        wait_until("the job of the dump to be done and its events numbered", || {
            let done: Option<u64> = conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status = 'done'").unwrap();
            let events: Option<u64> =
                conn.query_first("SELECT COUNT(*) FROM res_event WHERE state = 'Completed'").unwrap();
            (done, events) == (Some(1), Some(1))
        });
        assert!(resqd.stop().warnings().is_empty());
        // Its database belongs to the first round.
        restored.resqctl(["clear", "--yes", "--all"]).ok();
    }
}
