//! A broker in its own process, for tests that measure memory or take file descriptors away: this test program again, which
//! runs nothing but [`serve`].

use super::{fixture::Fixture, peer::Address};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use resq::client::ClientTls;
use resq_test_support::Certificates;
use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read},
    process::{Child as Process, ChildStdout, Command, Stdio},
};

const OPEN_FILES: &str = "RESQ_TEST_OPEN_FILES";
const MARK: &str = "serving on ";

pub struct Child {
    pub address: Address,
    pub tls: Address,
    process: Process,
    /// Not read any further, but kept open: writing to a closed pipe would fail.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// `open_files`: the limit of the process; 0: the hard limit.
    pub fn start(open_files: u64) -> Child {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "protocol::child::serve", "--ignored", "--nocapture"])
            .env(OPEN_FILES, open_files.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.unwrap().split_once(MARK).map(|(_, address)| address.to_string()));
        let line = line.expect("an address");
        let words: Vec<&str> = line.split(' ').collect();
        let trust = ClientTls { verify: true, ca: Some(words[2].into()), certificate: None };
        let tls = Address::Tls(words[1].parse().unwrap(), trust.load().unwrap());
        Child { address: Address::Tcp(words[0].parse().unwrap()), tls, process, _output: lines }
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Its standard input ends, and so does it.
        drop(self.process.stdin.take());
        let ended = self.process.wait();
        if !std::thread::panicking() {
            assert!(ended.unwrap().success(), "the broker's process failed");
        }
    }
}

/// Not a test: what [`Child::start`] starts.
#[test]
#[ignore = "serves another test"]
fn serve() {
    let wanted: u64 = std::env::var(OPEN_FILES).map_or(0, |files| files.parse().unwrap());
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, if wanted == 0 { hard } else { wanted }, hard).unwrap();
    let fixture = Fixture::with_defaults();
    let Address::Tcp(address) = fixture.tcp else { unreachable!() };
    let Address::Tls(tls, _) = fixture.tls else { unreachable!() };
    println!("{MARK}{address} {tls} {}", Certificates::shared().file("ca.pem").display());
    let _ = std::io::stdin().read(&mut [0]);
}
