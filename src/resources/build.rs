//! The handler that gives a resource its database. Owns the steps of one attempt: lock and look, drop what an earlier
//! attempt left, run the templates, undo on failure. Each step that others must not see half of is committed with
//! the claim or with the outcome.

use mysql::{Conn, prelude::Queryable};

use super::{
    name::Naming,
    registry::{self, Verdict},
    template::{Template, Values},
    template_files::Templates,
};
use crate::{
    db::{self, Error, ErrorClass, SQL_MODE, codes::*, ident},
    queue::{Handler, Job, JobError, JobResult, Outcome, Session, TransactionHooks},
};

/// Server errors that no further attempt can mend, in a template that was checked before: syntax, empty statement.
const HOPELESS: &[u16] = &[ER_PARSE_ERROR, ER_EMPTY_QUERY, ER_SYNTAX_ERROR];

pub struct DatabaseBuilder {
    templates: Templates,
    naming: Naming,
    version: String,
}

impl DatabaseBuilder {
    /// `conn` computes the template version, a hash of every file that makes a resource's database.
    pub fn new(conn: &mut Conn, templates: Templates, naming: Naming) -> Result<DatabaseBuilder, Error> {
        let version: Option<String> = conn.exec_first("SELECT LEFT(SHA2(?, 256), 40)", (&templates.fingerprint,))?;
        Ok(DatabaseBuilder { templates, naming, version: version.unwrap_or_default() })
    }

    fn db_name(&self, job: &Job) -> Result<String, String> {
        self.naming.db_name(&job.name, job.id)
    }

    /// The templates of a job's type, looked up among the folders read at start: a type is never made a path.
    fn templates_of(&self, job: &Job) -> Result<&[Template], JobError> {
        match self.templates.types.get(&job.res_type) {
            Some(templates) => Ok(templates),
            None if job.res_type == "default" => Ok(&[]),
            None => {
                let others = self.templates.types.keys().map(String::as_str).filter(|kind| *kind != "default");
                let known: Vec<&str> = std::iter::once("default").chain(others).collect();
                Err(JobError::Permanent(format!(
                    "no templates for res_type {:?}; known: {}",
                    job.res_type,
                    known.join(", ")
                )))
            }
        }
    }

    /// The registry's verdict on the job's name, with the lock for it held.
    fn enter(&self, job: &Job, session: &mut Session) -> Result<(String, Verdict), JobError> {
        let db_name = self.db_name(job).map_err(JobError::Permanent)?;
        let (row, exists) = registry::lock_and_look(session.conn()?, &self.naming.global_db, &db_name, job)?;
        let verdict = registry::verdict(&db_name, job, row, exists);
        Ok((db_name, verdict))
    }

    fn build(&self, job: &Job, db_name: &str, kind: &[Template], session: &mut Session) -> Result<(), Broken> {
        let values = Values {
            global_db: &self.naming.global_db,
            res_db: db_name,
            res_name: &job.name,
            res_type: &job.res_type,
            res_url: job.url.as_deref().unwrap_or_default(),
            res_id: job.id,
        };
        for template in &self.templates.res_db {
            run(template, &values, session)?;
        }
        session.conn()?.select_db(db_name).map_err(JobError::from)?;
        for template in self.templates.res_tables.iter().chain(kind) {
            run(template, &values, session)?;
        }
        Ok(())
    }
}

/// Drops what an earlier attempt left, which was seen a moment ago.
fn drop_earlier(conn: &mut Conn, db_name: &str) -> Result<(), JobError> {
    conn.query_drop(format!("DROP DATABASE {}", ident(db_name))).map_err(Error::from).map_err(|error| {
        match error.code() {
            // The server has no file descriptor left to look with (MariaDB).
            Some(ER_DB_DROP_EXISTS) => JobError::Interrupted(error.to_string()),
            _ => error.into(),
        }
    })
}

/// Why a build stopped.
enum Broken {
    /// CREATE DATABASE found one that was not there at the look: somebody else's, not to be dropped.
    NotOurs(String),
    Failed(JobError),
}

impl From<JobError> for Broken {
    fn from(error: JobError) -> Broken {
        Broken::Failed(error)
    }
}

/// Sends one file whole.
fn run(template: &Template, values: &Values, session: &mut Session) -> Result<(), Broken> {
    if !session.is_lease_valid() {
        return Err(JobError::Interrupted("this daemon's lease ran out".into()).into());
    }
    // A file before this one may have changed how literals are read.
    let script = format!("SET SESSION {SQL_MODE}, NAMES utf8mb4; {}", template.render(values));
    db::run_script(session.conn()?, &script).map_err(|db::ScriptError { statement, error }| {
        let text = format!("{}, statement {}: {error}", template.name, statement.max(2) - 1);
        if error.code() == Some(ER_DB_CREATE_EXISTS) && text.contains(&format!("'{}'", values.res_db)) {
            return Broken::NotOurs(text);
        }
        Broken::Failed(match error.class() {
            ErrorClass::Permanent if error.code().is_some_and(|code| HOPELESS.contains(&code)) => {
                JobError::Permanent(text)
            }
            ErrorClass::Permanent => JobError::Failed(text),
            ErrorClass::Retry | ErrorClass::ConnectionLost => JobError::Interrupted(text),
        })
    })
}

impl Handler for DatabaseBuilder {
    fn run(&self, job: &Job, session: &mut Session) -> JobResult {
        let (db_name, verdict) = self.enter(job, session)?;
        let global_db = &self.naming.global_db;
        match verdict {
            Verdict::Build => {}
            Verdict::DropAndBuild => drop_earlier(session.conn()?, &db_name)?,
            Verdict::Refuse(why) => {
                registry::forget(session.conn()?, global_db, &db_name, job)?;
                return Err(JobError::Permanent(why));
            }
            Verdict::TryAgain(why) => return Err(JobError::Failed(why)),
        }
        let kind = self.templates_of(job).map_err(Broken::Failed);
        match kind.and_then(|kind| self.build(job, &db_name, kind, session)) {
            Ok(()) => Ok(Some(db_name)),
            Err(Broken::NotOurs(text)) => {
                registry::forget(session.conn()?, global_db, &db_name, job)?;
                Err(JobError::Permanent(text))
            }
            // The next attempt drops what is there; this one has lost its connection or its right to do so.
            Err(Broken::Failed(error @ JobError::Interrupted(_))) => Err(error),
            Err(Broken::Failed(error)) => {
                Err(match registry::drop_half_made(session.conn()?, global_db, &db_name, job) {
                    Ok(()) => error,
                    Err(undo) if undo.class() == ErrorClass::Permanent => {
                        error.and_also(&format!("and it could not be undone: {undo}"))
                    }
                    Err(undo) => undo.into(),
                })
            }
        }
    }

    fn abandon(&self, job: &Job, session: &mut Session) -> Result<(), JobError> {
        match self.enter(job, session)? {
            (db_name, Verdict::DropAndBuild | Verdict::Build) => {
                Ok(registry::drop_half_made(session.conn()?, &self.naming.global_db, &db_name, job)?)
            }
            _ => Ok(()),
        }
    }
}

impl TransactionHooks for DatabaseBuilder {
    fn reserve(&self, conn: &mut Conn, jobs: &[Job]) -> Result<(), Error> {
        // A name that can't be had is for `run` to tell.
        let named: Vec<(String, &Job)> = jobs.iter().filter_map(|job| Some((self.db_name(job).ok()?, job))).collect();
        registry::reserve(conn, &named, &self.version)
    }

    fn release(&self, conn: &mut Conn, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error> {
        registry::release(conn, claim_id, ids)
    }

    fn record_outcomes(&self, conn: &mut Conn, outcomes: &[&Outcome]) -> Result<(), Error> {
        let made = outcomes.iter().filter_map(|outcome| outcome.attempt.result.as_ref().ok()?.as_deref());
        registry::ready(conn, &made.collect::<Vec<_>>())
    }
}
