//! What HTTP costs on a durable private server (`TEST_SERVER`): the metrics and pages of jobs beside a million finished rows,
//! as ratios to the same beside a thousand, and a daemon that is idle with and without it. Arguments pick figures by name:
//! metrics, pages, idle. What the broker alone does by HTTP is in the bench `broker`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use mysql::prelude::Queryable;
use resq_test_support::{HttpPeer, Instance, Running, Server, own_port, wait_until};

/// Requests of each kind.
const REQUESTS: usize = 200;
/// How long a daemon is watched while it is idle.
const IDLE: Duration = Duration::from_secs(20);

/// What a page of each kind asks for: all jobs, a status that all have, a status, a type and a name that few have.
const PAGES: [&str; 5] = ["", "?status=done", "?status=error", "?type=rare", "?status=done&name=b77777"];

fn main() {
    // Cargo adds --bench.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let server = Server::own();
    println!("{}, fsync on", server.kind());
    if wanted("metrics") || wanted("pages") {
        let [few, many] = [("few", 1_000), ("many", 1_000_000)].map(|(name, rows)| {
            let instance = Instance::on(&server, name);
            instance.resqctl(["init"]).ok();
            fill(&instance, rows);
            let port = own_port();
            let resqd = instance.resqd().env("RESQ_HTTP", format!("127.0.0.1:{port}")).spawn_ready();
            let mut peer = HttpPeer::connect(port);
            let metrics = wanted("metrics").then(|| median_and_p99(&mut peer, "/metrics"));
            let pages =
                PAGES.map(|page| wanted("pages").then(|| median_and_p99(&mut peer, &format!("/api/v1/jobs{page}"))));
            assert_eq!(resqd.stop().code(), Some(0));
            (metrics, pages)
        });
        print("/metrics", "p99 below 5 ms", few.0, many.0);
        for ((page, few), many) in PAGES.iter().zip(few.1).zip(many.1) {
            print(&format!("/api/v1/jobs{page}"), "below 50 ms", few, many);
        }
    }
    if wanted("idle") {
        let off = "[http]\nlisten = []\n";
        let [with, without] = [("with", None), ("without", Some(off))].map(|(name, file)| {
            let instance = Instance::on(&server, name);
            instance.resqctl(["init"]).ok();
            // So rare that what HTTP adds would show.
            let mut program = instance.resqd().args(["--poll-ms", "10000"]);
            if let Some(text) = file {
                let path = instance.dir().join("http.toml");
                fs::write(&path, text).expect("a file");
                program = program.env("RESQ_HTTP", "").arg("--config").arg(path);
            }
            idle(program.spawn_ready())
        });
        println!("wake-ups in {} s idle: {without} without HTTP, {with} with it (the same)", IDLE.as_secs());
    }
}

/// Finished rows, some of them rare, without the triggers' events.
fn fill(instance: &Instance, rows: u64) {
    let mut conn = instance.conn();
    let digit = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 \
                 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let digits = rows.checked_ilog10().unwrap_or(0);
    if digits > 0 {
        let name: Vec<String> = (0..digits).map(|i| format!("t{i}.d")).collect();
        let from: Vec<String> = (0..digits).map(|i| format!("{digit} t{i}")).collect();
        conn.query_drop(format!(
            "INSERT INTO res_queue (res_name, status) SELECT CONCAT('b', {}), 'done' FROM {}",
            name.join(","),
            from.join(" JOIN ")
        ))
        .expect("rows");
    }
    let rare = vec!["('rare', 'rare', 'error')"; 100].join(", ");
    conn.query_drop(format!("INSERT INTO res_queue (res_name, res_type, status) VALUES {rare}")).expect("rows");
}

fn median_and_p99(peer: &mut HttpPeer, path: &str) -> (Duration, Duration) {
    let times = (0..REQUESTS).map(|_| {
        let start = Instant::now();
        peer.request(&format!("GET {path}"), "");
        assert_eq!(peer.answer().status, 200);
        start.elapsed()
    });
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    (times[REQUESTS / 2], times[REQUESTS * 99 / 100])
}

type Times = Option<(Duration, Duration)>;

fn print(what: &str, limit: &str, few: Times, many: Times) {
    if let (Some(few), Some(many)) = (few, many) {
        let ratio = many.0.as_secs_f64() / few.0.as_secs_f64();
        println!(
            "{what}: median {:.2?}, p99 {:.2?} beside 1,000,000 rows ({limit}); beside 1,000: {:.2?}, {ratio:.1} x",
            many.0, many.1, few.0
        );
    }
}

/// How often the threads of the daemon woke up, once it has come to rest.
fn idle(daemon: Running) -> u64 {
    let wakeups = || -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("its threads");
        let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let count = |text: String| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse().ok()
        };
        threads.flatten().filter_map(|thread| count(status(thread))).sum()
    };
    let mut before = 0;
    wait_until("the end of its start", || {
        let now = wakeups();
        thread::sleep(Duration::from_millis(500));
        std::mem::replace(&mut before, now) == now
    });
    let before = wakeups();
    thread::sleep(IDLE);
    let count = wakeups() - before;
    assert_eq!(daemon.stop().code(), Some(0));
    count
}
