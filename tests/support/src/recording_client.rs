//! A subscriber as a real process: `resq-client`, which appends every event to a file. It may be killed, and resumes after
//! the last complete line that it wrote.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::PathBuf,
};

use serde_json::Value as Json;

use crate::{
    instance::{Instance, binary},
    program::Running,
    wait::{DEADLINE, wait_or_report},
};

/// More than the longest line of a test.
const TAIL: u64 = 64 * 1024;

pub struct RecordingClient {
    file: PathBuf,
    env: Vec<(&'static str, String)>,
    client: Option<Running>,
}

impl RecordingClient {
    /// Subscribes to every state, from the log's beginning. `env` overrides the instance's settings, such as the
    /// broker's address.
    pub fn start(instance: &Instance, name: &str, env: Vec<(&'static str, String)>) -> RecordingClient {
        let file = instance.dir().join(name);
        File::create(&file).expect("a file");
        let mut client = RecordingClient { file, env, client: None };
        client.resume(instance);
        client
    }

    /// Starts it again after the last event that it has, and waits until it has subscribed. Its first connection must
    /// succeed, so it is restarted until the daemon is up.
    pub fn resume(&mut self, instance: &Instance) {
        let script = r#"exec "$0" --json --sub '*' --since "$1" >>"$2""#;
        wait_or_report(DEADLINE, "a client to subscribe", || {
            let args = ["-c", script, &binary("resq-client"), &self.last_seq().to_string()];
            let program = instance.program("sh").args(args).arg(&self.file);
            let program = self.env.iter().fold(program, |program, (key, value)| program.env(key, value));
            self.client = Some(program.try_spawn_ready().map_err(|finished| finished.to_string())?);
            Ok(())
        });
    }

    /// Kills it with SIGKILL; a partial last line is cut off.
    pub fn kill(&mut self) {
        self.client = None;
        let mut bytes = Vec::new();
        File::open(&self.file).and_then(|mut file| file.read_to_end(&mut bytes)).expect("its file");
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1);
        OpenOptions::new().write(true).open(&self.file).and_then(|file| file.set_len(whole)).expect("its file");
    }

    /// Sends `STOP`, `CONT`, … to it.
    pub fn signal(&self, name: &str) {
        self.client.as_ref().expect("it runs").signal(name);
    }

    /// The number of the last event that it wrote completely; 0: none.
    pub fn last_seq(&self) -> u64 {
        let mut file = File::open(&self.file).expect("its file");
        let length = file.metadata().expect("its length").len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).expect("its tail");
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).expect("its tail");
        let whole = tail.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let last = tail[..whole].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if last.is_empty() { 0 } else { seq(&parse(&String::from_utf8_lossy(last))) }
    }

    /// Every event that it wrote completely, in order, as resq-client's JSON: `seq`, `time`, `state`, `payload`.
    pub fn for_each(&self, mut each: impl FnMut(&Json)) {
        let mut lines = BufReader::new(File::open(&self.file).expect("its file"));
        let mut line = String::new();
        while lines.read_line(&mut line).expect("UTF-8") > 0 && line.ends_with('\n') {
            each(&parse(line.trim_end()));
            line.clear();
        }
    }

    /// Whether it has an event of this state for the job of this name.
    pub fn has(&self, state: &str, res_name: &str) -> bool {
        let mut found = false;
        self.for_each(|event| found |= event["state"] == state && event["payload"]["res_name"] == res_name);
        found
    }
}

fn seq(event: &Json) -> u64 {
    event["seq"].as_u64().unwrap_or_else(|| panic!("not an event: {event}"))
}

fn parse(line: &str) -> Json {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
