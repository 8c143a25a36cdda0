//! Signals for a program that is the first process of a container (PID 1). The system ends that process by no signal that
//! it has no handler for, so a container that runs resq-client could only be killed.

use std::{
    io, process,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag::register_conditional_shutdown,
};

/// Lets the signals that end a process end this one too, if it is the first. The exit code is that of a shell: 128 and the
/// signal's number. Not for a program with handlers of its own.
///
/// # Errors
/// The system allows no handler.
pub fn end_on_signals() -> io::Result<()> {
    if process::id() == 1 {
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            register_conditional_shutdown(signal, 128 + signal, Arc::new(AtomicBool::new(true)))?;
        }
    }
    Ok(())
}
