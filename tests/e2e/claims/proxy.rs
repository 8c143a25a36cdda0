//! A way to the server that breaks at one statement: after the server has done it and before its answer is heard.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread;

/// Listens on a port of its own and passes everything on, but for what it was made to lose. Ends with the process.
pub struct Proxy {
    pub port: u16,
    lost: Arc<AtomicBool>,
}

impl Proxy {
    /// Loses the answer to the first `COMMIT` that follows a statement with `mark` in it on the same connection.
    pub fn losing_a_commit(server: u16, mark: &'static str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let lost = Arc::<AtomicBool>::default();
        let seen = lost.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let seen = seen.clone();
                thread::spawn(move || {
                    let server = TcpStream::connect(("127.0.0.1", server)).expect("the server");
                    let _ = pass(client, server, mark, &seen);
                });
            }
        });
        Proxy { port, lost }
    }

    pub fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// The protocol is ask and answer in turn; a statement of a claim is far smaller than one read.
fn pass(mut client: TcpStream, mut server: TcpStream, mark: &str, lost: &AtomicBool) -> std::io::Result<()> {
    let (mut back, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let cut = Arc::<AtomicBool>::default();
    let is_cut = cut.clone();
    thread::spawn(move || {
        let mut answer = vec![0; 65536];
        while let Ok(n @ 1..) = back.read(&mut answer) {
            if is_cut.load(Ordering::Acquire) || to_client.write_all(&answer[..n]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut marked = false;
    let mut question = vec![0; 65536];
    loop {
        let n = client.read(&mut question)?;
        if n == 0 {
            return server.shutdown(Shutdown::Both);
        }
        let has = |text: &str| question[..n].windows(text.len()).any(|window| window == text.as_bytes());
        marked |= has(mark);
        if marked && has("COMMIT") && !lost.swap(true, Ordering::AcqRel) {
            cut.store(true, Ordering::Release);
        }
        server.write_all(&question[..n])?;
    }
}
