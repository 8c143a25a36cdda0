//! The log: to standard error and, if asked for, also to a file. Times are UTC, a message is one line with control
//! characters escaped, and the number of lines per second is limited, so that a peer that provokes warnings cannot fill
//! a disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, LineWriter, Write},
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{CombinedLogger, Config, ConfigBuilder, LevelPadding, SharedLogger, WriteLogger};

use crate::base::{text::printable, throttle::Throttle};

/// The most lines logged per second; further ones are counted, and one line reports their number.
const LINES_PER_SECOND: u32 = 1000;

/// Starts the log of this process: warnings and errors; `-v` (1) information; `-v -v` (2) debug.
pub fn start(verbosity: usize, log_file: Option<&str>) -> io::Result<()> {
    let level = match verbosity {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    // A LineWriter writes whole lines, so that those of two processes on one terminal do not mix.
    let mut outputs: Vec<Box<dyn SharedLogger>> =
        vec![WriteLogger::new(level, layout(), LineWriter::new(io::stderr()))];
    if let Some(path) = log_file {
        let log_file = LogFile::open(path.into())?;
        // A second log of this process is not used: see below.
        outputs.push(WriteLogger::new(level, layout(), LINES_TO.get_or_init(|| log_file)));
    }
    log::set_max_level(level);
    // An error means that this process already has a log, which stays in use.
    let _ = log::set_boxed_logger(Box::new(Lines::new(CombinedLogger::new(outputs))));
    Ok(())
}

/// The file of `--log-file`.
static LINES_TO: OnceLock<LogFile> = OnceLock::new();

/// A file that can be replaced by one of the same name, as log rotation does.
struct LogFile {
    path: PathBuf,
    file: Mutex<LineWriter<File>>,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<LogFile> {
        let file = Mutex::new(open(&path)?);
        Ok(LogFile { path, file })
    }

    fn reopen(&self) -> io::Result<()> {
        let file = open(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

fn open(path: &PathBuf) -> io::Result<LineWriter<File>> {
    Ok(LineWriter::new(OpenOptions::new().create(true).append(true).open(path)?))
}

impl Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// Opens the file of `--log-file` again by its name, so that a renamed one gets no further lines.
pub fn reopen() {
    let Some(log_file) = LINES_TO.get() else { return };
    match log_file.reopen() {
        Ok(()) => log::info!("log: opened the log file again"),
        Err(error) => log::warn!(
            "log: cannot open the log file again ({error}); writing to the old one path={}",
            log_file.path.display()
        ),
    }
}

fn layout() -> Config {
    ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_level_padding(LevelPadding::Right)
        .set_thread_level(LevelFilter::Debug)
        .set_target_level(LevelFilter::Debug)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// Escapes and limits what is passed on to the real log.
struct Lines {
    log: Box<dyn Log>,
    throttle: Mutex<Throttle>,
}

impl Lines {
    fn new(log: Box<dyn Log>) -> Self {
        Lines { log, throttle: Mutex::new(Throttle::new(LINES_PER_SECOND, Duration::from_secs(1))) }
    }

    fn write(&self, record: &Record<'_>, text: &str) {
        let mut line = Record::builder();
        line.metadata(record.metadata().clone()).module_path(record.module_path()).file(record.file());
        self.log.log(&line.line(record.line()).args(format_args!("{}", printable(text))).build());
    }
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.log.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let admitted = self.throttle.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        let Some(suppressed) = admitted else { return };
        if suppressed > 0 {
            let note = format!("log: more than {LINES_PER_SECOND} lines in a second; suppressed {suppressed}");
            self.write(record, &note);
        }
        self.write(record, &record.args().to_string());
    }

    fn flush(&self) {
        self.log.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl Log for Seen {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
        fn flush(&self) {}
    }

    #[test]
    fn a_message_is_one_line_whatever_it_contains() {
        let seen = Seen::default();
        let lines = Lines::new(Box::new(seen.clone()));
        lines.log(&Record::builder().args(format_args!("a {}", "b\n2026 [ERROR] forged")).build());
        assert_eq!(*seen.0.lock().unwrap(), ["a b\\n2026 [ERROR] forged"]);
    }
}
