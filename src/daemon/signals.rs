//! The daemon's signals: SIGTERM and SIGINT stop it, SIGHUP opens the log file and the settings again, and those whose default would end
//! or stop a process by surprise do nothing. Decides nothing about how the daemon stops.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::cli::reopen_log;

/// Two stops in quicker succession count as one: a sender that signals the process and its process group (`timeout`
/// does) means to stop it once.
const ONE_SIGNAL: Duration = Duration::from_millis(250);

/// Signals that mean nothing to the daemon and would end it, or stop it when it writes to a terminal in the background.
/// Blocked rather than handled, so that they interrupt no system call and a write to that terminal is let through.
/// SIGQUIT, SIGABRT and SIGTSTP keep their meaning: their senders want it.
const MEANINGLESS: &[Signal] = &[
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPIPE,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGXFSZ,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    #[cfg(target_os = "linux")]
    Signal::SIGPWR,
    #[cfg(target_os = "linux")]
    Signal::SIGSTKFLT,
];

/// Linux's real-time signals that a C library leaves to programs. They end a process, too.
#[cfg(target_os = "linux")]
const REAL_TIME: std::ops::RangeInclusive<i32> = 35..=64;
#[cfg(not(target_os = "linux"))]
const REAL_TIME: std::ops::Range<i32> = 0..0;

/// What arrived.
pub struct Received {
    /// A message for each SIGTERM or SIGINT.
    pub stops: Receiver<()>,
    /// A message for SIGHUPs: the settings are to be read again.
    pub hangups: Receiver<()>,
}

/// The signals from now on. To be called before any other thread is started, since those inherit
/// what this one blocks.
///
/// # Errors
/// The system allows no handlers or no thread.
pub fn listen() -> io::Result<Received> {
    MEANINGLESS.iter().copied().collect::<SigSet>().thread_block()?;
    let mut heard = vec![SIGTERM, SIGHUP];
    // A shell starts a background job of a script with SIGINT ignored: Ctrl-C is meant for others then.
    if !is_ignored(SIGINT) {
        heard.push(SIGINT);
    }
    heard.extend(REAL_TIME);
    let mut signals = Signals::new(heard)?;
    let (sender, stops) = bounded(2);
    let (hangup, hangups) = bounded(1);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut last: Option<Instant> = None;
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    reopen_log();
                    // One that waits already will do.
                    let _ = hangup.try_send(());
                }
                SIGTERM | SIGINT if last.is_none_or(|last| last.elapsed() > ONE_SIGNAL) => {
                    let _ = sender.try_send(());
                    last = Some(Instant::now());
                }
                _ => {}
            }
        }
    })?;
    Ok(Received { stops, hangups })
}

/// Whether this process was started with `signal` ignored, as far as the system shows it.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> (signal - 1) & 1 == 1)
}
