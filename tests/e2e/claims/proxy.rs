//! A way to the server that breaks at one statement: after the server has done it and before its answer is heard.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::thread;

/// Listens on a port of its own and passes everything on, but for what it was made to lose. Ends with the process.
pub struct Proxy {
    pub port: u16,
    lost: Arc<AtomicUsize>,
}

impl Proxy {
    /// Loses the answer to the `COMMIT` that follows a statement with `mark` in it on the same connection, the first
    /// `times` that it sees one.
    pub fn losing_commits(server: u16, mark: &'static str, times: usize) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = lost.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let counter = counter.clone();
                thread::spawn(move || {
                    let server = TcpStream::connect(("127.0.0.1", server)).expect("the server");
                    let _ = pass(client, server, mark, times, &counter);
                });
            }
        });
        Proxy { port, lost }
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The protocol is ask and answer in turn; a statement of a claim is far smaller than one read.
fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    mark: &str,
    times: usize,
    lost: &AtomicUsize,
) -> std::io::Result<()> {
    let (mut back, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let marked = Arc::new(AtomicUsize::new(0));
    const ARMED: usize = 1;
    const FIRED: usize = 2;
    let state = marked.clone();
    thread::spawn(move || {
        let mut answer = vec![0; 65536];
        while let Ok(n @ 1..) = back.read(&mut answer) {
            if state.load(Ordering::Acquire) == FIRED || to_client.write_all(&answer[..n]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut question = vec![0; 65536];
    loop {
        let n = client.read(&mut question)?;
        if n == 0 {
            return server.shutdown(Shutdown::Both);
        }
        let has = |text: &str| question[..n].windows(text.len()).any(|window| window == text.as_bytes());
        if has(mark) {
            marked.store(ARMED, Ordering::Release);
        } else if has("COMMIT")
            && marked.load(Ordering::Acquire) == ARMED
            && lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < times).then_some(n + 1)).is_ok()
        {
            marked.store(FIRED, Ordering::Release);
        }
        server.write_all(&question[..n])?;
    }
}
