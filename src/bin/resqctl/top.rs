//! `resqctl top`: the state of the queue, live. `view` reads it once per interval, `text` words it, and `terminal`
//! shows it where there is one.

mod terminal;
mod text;
mod view;

use std::{io::IsTerminal, thread, time::Duration};

use resq::{
    cli::{Failure, Output},
    db::Db,
};

use crate::args::Top;
use terminal::Terminal;
use view::read;

/// Shows the queue until `q`, or until `args.count` views were shown.
pub fn top(db: &Db, args: &Top, out: &mut Output) -> Result<(), Failure> {
    let interval = Duration::from_secs(args.interval.max(1));
    let mut mark = None;
    // The first view has to succeed; later, what fails is shown and tried again.
    let mut view = read(db, &mut mark);
    if let Err(error) = view {
        return Err(error.into());
    }
    let terminal = if std::io::stdout().is_terminal() { Terminal::enter() } else { None };
    for shown in 1.. {
        match (&terminal, &view) {
            (Some(terminal), Ok(view)) => terminal.draw(&text::screen(db.global_db(), view)),
            (Some(terminal), Err(error)) => terminal.draw(&text::failed(error)),
            (None, Ok(view)) => out.line(text::line(view)),
            (None, Err(error)) => out.line(text::failed(error).join(" ")),
        }
        out.flush();
        if args.count.is_some_and(|count| shown >= count) || !out.is_open() {
            break;
        }
        match &terminal {
            Some(terminal) if terminal.quits_within(interval) => break,
            Some(_) => {}
            None => thread::sleep(interval),
        }
        view = read(db, &mut mark);
    }
    Ok(())
}
