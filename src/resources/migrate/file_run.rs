//! How an attempt runs one file: from the statement that an earlier attempt reached, each recorded by its kind.

use std::{ops::Range, sync::atomic::Ordering};

use mysql::prelude::Queryable;

use super::{
    attempt::Attempt,
    files::Migration,
    position::Position,
    recorder::RACES,
    statement::{Kind, Statement, together},
    stop::{Stop, of_record},
    stretch::{Part, Stretch},
};
use crate::{
    base::clock::now,
    db::{Error, Packet, Stopped, run_script},
    resources::template::Values,
};

impl Attempt<'_, '_> {
    /// Runs what is left of a file, of which this attempt has `done` so many statements. Returns the position that is to be
    /// recorded as its end; None: it is.
    pub(super) fn run_file(
        &mut self,
        file: &Migration,
        values: &Values<'_>,
        begun: Option<&Position>,
        done: usize,
        (from, is_last): (u32, bool),
    ) -> Result<Option<Position>, Stop> {
        let statements = file.statements(values);
        let mut repeated = if done == 0 { self.resume(file, &statements, begun)? } else { done..done };
        // Settings that later statements rely on.
        for statement in statements[..repeated.start].iter().filter(|statement| statement.kind == Kind::Session) {
            run_script(self.conn()?, &statement.text).map_err(Error::from)?;
        }
        let mut at = repeated.start;
        let mut recorded = at;
        while at < statements.len() {
            if self.recorder.stopping.load(Ordering::Relaxed) {
                return Err(Stop::Stopping);
            }
            match statements[at].kind {
                Kind::Session => {
                    self.run_one(file, at, &statements[at]).map_err(|error| self.meaning(file, at, error, None))?;
                    at += 1;
                }
                Kind::Rows => {
                    let end = at + statements[at..].iter().take_while(|next| next.kind == Kind::Rows).count();
                    self.run_rows(file, &statements, at..end, (from, is_last))?;
                    (at, recorded) = (end, end);
                    if end == statements.len() {
                        return Ok(None);
                    }
                }
                Kind::Definition => {
                    at = match repeated.is_empty() {
                        false => self.run_again(file, &statements, std::mem::take(&mut repeated))?,
                        true if file.is_plain => self.run_plain(file, &statements, at)?,
                        true => self.run_definition(file, &statements, at, recorded)?,
                    };
                    recorded = at;
                }
            }
        }
        Ok(Some(Position::new(file.number, &statements, true)))
    }

    /// The statements that may have been interrupted; those before them are done.
    fn resume(
        &self,
        file: &Migration,
        statements: &[Statement],
        begun: Option<&Position>,
    ) -> Result<Range<usize>, Stop> {
        let Some(position) = begun else { return Ok(0..0) };
        let reached = position.statement as usize;
        if reached > statements.len() || position.is_behind_others(&statements[..reached]) {
            return Err(self.failed(
                &file.path,
                reached,
                format!(
                    "the file has changed since this database got its statements up to {reached}; undo that change, or \
                     complete the migration by hand"
                ),
                None,
            ));
        }
        let begins = match position.is_done {
            true => reached,
            false if file.is_plain => together(statements, reached - 1).start,
            false => reached - 1,
        };
        Ok(begins..reached)
    }

    /// Runs a definition behind its record. Returns the statement behind it.
    fn run_definition(
        &mut self,
        file: &Migration,
        statements: &[Statement],
        at: usize,
        recorded: usize,
    ) -> Result<usize, Stop> {
        self.record(&Position::new(file.number, &statements[..=at], false))?;
        let before = Position::new(file.number, &statements[..recorded], true);
        self.run_one(file, at, &statements[at]).map_err(|error| self.meaning(file, at, error, Some(before)))?;
        Ok(at + 1)
    }

    /// Runs definitions again that were interrupted, of which the first ones may find their own work. Returns the statement
    /// behind them.
    fn run_again(
        &mut self,
        file: &Migration,
        statements: &[Statement],
        interrupted: Range<usize>,
    ) -> Result<usize, Stop> {
        self.record(&Position::new(file.number, &statements[..interrupted.end], false))?;
        let (mut may_be_done, end) = (true, interrupted.end);
        for at in interrupted {
            let Err(error) = self.run_one(file, at, &statements[at]) else {
                // It was not done, so none behind it had begun.
                may_be_done = false;
                continue;
            };
            if !(may_be_done && error.code().is_some_and(|code| statements[at].is_done_by(code))) {
                // As long as those before were found done, so may this one be.
                let before = (!may_be_done).then(|| Position::new(file.number, &statements[..at], true));
                return Err(self.meaning(file, at, error, before));
            }
            log::info!(
                "rollout {}: statement {} of {} was done before it was interrupted database={}",
                self.recorder.plan.rollout,
                at + 1,
                file.path,
                self.claimed.db_name
            );
        }
        Ok(end)
    }

    /// Runs definitions in one round trip, behind their records. Returns the statement behind them.
    fn run_plain(&mut self, file: &Migration, statements: &[Statement], at: usize) -> Result<usize, Stop> {
        let (claim, db_name) = (self.recorder.claim, &self.claimed.db_name);
        let new_until = self.new_until.filter(|until| now() < *until);
        let mut stretch = Stretch { db_name, number: file.number, statements, at, new_until };
        let mut races = RACES;
        loop {
            let mut packet = Packet::default();
            let end = stretch.add(&mut packet, claim);
            match packet.run(self.conn()?) {
                Ok(()) => return Ok(end),
                Err(Stopped { purpose: Part::Statement(at), error, .. }) => {
                    let before = Position::new(file.number, &statements[..at], true);
                    return Err(self.meaning(file, at, error, Some(before)));
                }
                Err(Stopped { purpose: Part::Record(at), error, .. }) if error.is_lost_race() => {
                    stretch.at = at;
                    self.recorder.after_race(&mut races, &error)?;
                }
                Err(stopped) => return Err(of_record(stopped)),
            }
        }
    }

    /// Runs consecutive statements that change rows in one transaction with their record.
    fn run_rows(
        &mut self,
        file: &Migration,
        statements: &[Statement],
        range: Range<usize>,
        (from, is_last): (u32, bool),
    ) -> Result<(), Stop> {
        let mut packet = Packet::default();
        let reached = Position::new(file.number, &statements[..range.end], true);
        let done = (range.end == statements.len()).then(|| self.completion(&reached, from, is_last));
        match &done {
            Some(done) => done.add(&mut packet),
            None => {
                packet.add(Part::Complete, 1, &self.recorder.claim.reach(&self.claimed.db_name, &reached, false));
                packet.require(Part::Complete, "ROW_COUNT() > 0");
            }
        }
        packet.add(Part::Commit, 1, "COMMIT");
        let mut races = RACES;
        loop {
            self.conn()?.query_drop("START TRANSACTION")?;
            for at in range.clone() {
                if let Err(error) = self.run_one(file, at, &statements[at]) {
                    let meaning = self.meaning(file, at, error, None);
                    let _ = self.conn()?.query_drop("ROLLBACK");
                    return Err(meaning);
                }
            }
            match packet.run(self.conn()?) {
                // The rows are gone with their record.
                Err(stopped) if stopped.error.is_lost_race() => self.recorder.after_race(&mut races, &stopped.error)?,
                ended => {
                    ended.map_err(of_record)?;
                    done.iter().for_each(|done| self.recorder.recorded(done));
                    return Ok(());
                }
            }
        }
    }

    fn record(&mut self, position: &Position) -> Result<(), Stop> {
        let (claim, claimed, mut races) = (self.recorder.claim, self.claimed, RACES);
        loop {
            match claim.record(self.conn()?, &claimed.db_name, position) {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Stop::Lost),
                Err(error) if error.is_lost_race() => self.recorder.after_race(&mut races, &error)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn run_one(&mut self, file: &Migration, at: usize, statement: &Statement) -> Result<(), Error> {
        log::debug!("rollout {}: {}, statement {}", self.recorder.plan.rollout, file.path, at + 1);
        let conn = self.recorder.session.conn().map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(run_script(conn, &statement.text)?)
    }
}
