//! The terminal while `resqctl top` runs: its second screen, keys without Enter, and its first screen again at the end, also
//! after a signal.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use console::Term;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
    unistd::read,
};

/// Second screen, no wrapping of lines, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?7h\x1b[?1049l";

/// A terminal whose settings return when it is dropped.
pub struct Terminal {
    before: Termios,
    signalled: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal over. None: standard input is none, so that no key could end the program.
    pub fn enter() -> Option<Terminal> {
        let before = tcgetattr(io::stdin()).ok()?;
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, signalled.clone()).ok()?;
        }
        let mut keys = before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &keys).ok()?;
        write(ENTER);
        Some(Terminal { before, signalled })
    }

    /// Shows these lines, as far as there is room.
    pub fn draw(&self, lines: &[String]) {
        let (rows, _) = Term::stdout().size();
        let mut text = String::from("\x1b[H");
        for (at, line) in lines.iter().take(usize::from(rows)).enumerate() {
            text += if at == 0 { "" } else { "\r\n" };
            text += line;
            text += "\x1b[K";
        }
        text += "\x1b[J";
        write(&text);
    }

    /// Waits this long for a key or signal that ends the program. A terminal that is gone ends it, too.
    pub fn quits_within(&self, interval: Duration) -> bool {
        let until = Instant::now() + interval;
        while !self.signalled.load(Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let stdin = io::stdin();
            match poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return false,
                Ok(_) => {}
                // A signal.
                Err(nix::Error::EINTR) => continue,
                Err(_) => return true,
            }
            let mut key = [0; 16];
            match read(&stdin, &mut key) {
                Ok(0) | Err(_) => return true,
                Ok(length) if key[..length].iter().any(|key| matches!(key, b'q' | b'Q')) => return true,
                Ok(_) => {}
            }
        }
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        write(LEAVE);
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// A terminal that is gone needs nothing more.
fn write(text: &str) {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
