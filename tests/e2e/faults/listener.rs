//! A subscriber as a real process: `resq-client`, which writes every event into a file. It may be killed and goes on
//! behind the last whole line that it wrote.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::PathBuf,
};

use serde_json::Value as Json;

use crate::{instance::Instance, program::Running};

/// More than a line of the tests'.
const TAIL: u64 = 64 * 1024;

pub struct Listener {
    file: PathBuf,
    env: Vec<(&'static str, String)>,
    client: Option<Running>,
}

impl Listener {
    /// Starts listening to everything from the log's beginning. `env` says where, beside the instance's settings.
    pub fn start(instance: &Instance, name: &str, env: Vec<(&'static str, String)>) -> Listener {
        let file = instance.dir().join(name);
        File::create(&file).expect("a file");
        let mut listener = Listener { file, env, client: None };
        listener.resume(instance);
        listener
    }

    /// Begins anew behind the last event that it has.
    pub fn resume(&mut self, instance: &Instance) {
        let script = r#"exec "$0" -v --json --sub '*' --since "$1" >>"$2""#;
        let args = ["-c", script, env!("CARGO_BIN_EXE_resq-client"), &self.last_seq().to_string()];
        let program = instance.program("sh").args(args).arg(&self.file);
        let mut client = self.env.iter().fold(program, |program, (key, value)| program.env(key, value)).spawn();
        client.wait_for_log("subscribed at");
        self.client = Some(client);
    }

    /// Ends it as a crash does; half a line may stay and is cut off.
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

    /// The number of the last event that it wrote whole; 0: none.
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

    /// All that it wrote, in order.
    pub fn events(&self) -> Vec<Json> {
        let lines = BufReader::new(File::open(&self.file).expect("its file")).lines();
        lines.map(|line| parse(&line.expect("a line of text"))).collect()
    }
}

pub fn seq(event: &Json) -> u64 {
    event["seq"].as_u64().unwrap_or_else(|| panic!("not an event: {event}"))
}

fn parse(line: &str) -> Json {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
