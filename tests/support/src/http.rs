//! A client of HTTP that sends any bytes, right or wrong, and reads answers and streams of events. Every read has a
//! deadline.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
};

use serde_json::Value as Json;

use crate::wait::{DEADLINE, wait_or_report};

/// One connection to a port of the loopback interface.
pub struct HttpPeer {
    stream: BufReader<TcpStream>,
    is_head: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub fields: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl HttpPeer {
    pub fn connect(port: u16) -> HttpPeer {
        let mut stream = None;
        wait_or_report(DEADLINE, "a connection", || {
            stream = Some(TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?);
            Ok(())
        });
        let stream = stream.expect("it is connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        HttpPeer { stream: BufReader::new(stream), is_head: false }
    }

    /// Sends these bytes. The other end may have closed already, which the next read shows.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// Sends a request without a body. `fields`: lines that end in CR LF.
    pub fn request(&mut self, line: &str, fields: &str) {
        self.is_head = line.starts_with("HEAD ");
        self.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
    }

    /// The next answer. Panics if there is none.
    pub fn answer(&mut self) -> Answer {
        let line = self.line().expect("an answer");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = self.line().expect("a whole head").split_once(':') {
            fields.insert(name.to_ascii_lowercase(), value.trim().to_string());
        }
        let length = fields.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; if self.is_head { 0 } else { length }];
        self.stream.read_exact(&mut body).expect("a whole body");
        let body = String::from_utf8(body).expect("UTF-8");
        Answer { status: status.unwrap_or_else(|| panic!("not an answer: {line}")), fields, body }
    }

    /// Whether the other end closes without sending anything more.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
            Ok(_) => false,
        }
    }

    /// The next line without its end; None once the connection has ended, be it in the middle of a line.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => Some(line.trim_end_matches(['\r', '\n']).to_string()),
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line: {error}"),
        }
    }

    /// The next event of a stream, but for the one that names the log: its type and its data. None once the stream has ended.
    /// `last_id` follows the ids.
    pub fn event(&mut self, last_id: &mut Option<String>) -> Option<(String, Json)> {
        loop {
            let next = self.message(last_id);
            if next.as_ref().is_none_or(|(kind, _)| kind != "resq/log") {
                return next;
            }
        }
    }

    /// The same with the one that names the log, which is the first.
    pub fn message(&mut self, last_id: &mut Option<String>) -> Option<(String, Json)> {
        let (mut kind, mut data) = (String::from("message"), String::new());
        loop {
            let line = self.line()?;
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("id", id) => *last_id = Some(id.to_string()),
                ("event", name) => kind = name.to_string(),
                ("data", text) => data += text,
                ("", _) if !data.is_empty() => {
                    let json = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
                    return Some((kind, json));
                }
                _ => {}
            }
        }
    }
}

/// Sends one request on a connection of its own and returns the answer.
pub fn http(port: u16, line: &str, fields: &str) -> Answer {
    let mut peer = HttpPeer::connect(port);
    peer.request(line, fields);
    peer.answer()
}
