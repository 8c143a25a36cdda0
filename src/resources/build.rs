//! The handler that gives a resource its database. Owns the steps of one attempt: lock the name, drop what an earlier
//! attempt left, run the templates, undo on failure. Knows two servers: the control server, which holds the queue and
//! the registry, and the resource server, which holds the resource's database. Both are one server today.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use mysql::{Conn, prelude::Queryable};

use super::{
    broken::{Broken, failed, not_asked},
    elsewhere,
    name::Naming,
    one_packet::{Ended, OnePacket},
    registry::{self, Built, Entry, Registered, Reservation, Verdict},
    resource_server,
    template::{Template, Values},
    template_files::Templates,
};
use crate::{
    db::{self, Error, OtherHosts, codes::ER_DB_DROP_EXISTS, ident},
    queue::{Handler, Job, JobError, JobResult, Outcome, Session, TransactionHooks},
};

/// How long to wait for a killed session to release its lock, in seconds.
const LOCK_WAIT_S: u32 = 10;

/// Builds the database of each job's resource. Its templates may be replaced; an attempt runs by those that it began with.
pub struct DatabaseBuilder {
    current: RwLock<Arc<Builder>>,
}

/// Builds by one set of templates.
struct Builder {
    templates: Templates,
    naming: Naming,
    /// The cluster's other nodes; None: there are none.
    others: Option<Arc<OtherHosts>>,
    /// The types whose files are sent as one packet.
    at_once: BTreeMap<String, OnePacket>,
}

/// A job whose name is locked.
struct Entered {
    verdict: Verdict,
    /// By which templates and at which version the registry says that the database is built.
    recorded: Option<(String, u32)>,
}

impl DatabaseBuilder {
    /// A builder that runs these templates under these names. `others`: the other nodes of the resources' cluster.
    pub fn new(templates: Templates, naming: Naming, others: Option<OtherHosts>) -> DatabaseBuilder {
        let builder = Builder::new(templates, naming, others.map(Arc::new));
        DatabaseBuilder { current: RwLock::new(Arc::new(builder)) }
    }

    /// Runs these templates from the next attempt on.
    pub fn replace(&self, templates: Templates) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(Builder::new(templates, current.naming.clone(), current.others.clone()));
    }

    fn current(&self) -> Arc<Builder> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for DatabaseBuilder {
    fn run(&self, job: &Job, session: &mut Session) -> JobResult {
        self.current().run(job, session)
    }

    fn abandon(&self, job: &Job, session: &mut Session) -> Result<(), JobError> {
        self.current().abandon(job, session)
    }
}

impl Builder {
    fn new(templates: Templates, naming: Naming, others: Option<Arc<OtherHosts>>) -> Builder {
        let at_once = templates.types().filter_map(|name| {
            let in_its_own = templates.res_tables.iter().chain(templates.of_type(name)?);
            Some((name.to_string(), OnePacket::of(templates.res_db.iter(), in_its_own)?))
        });
        Builder { at_once: at_once.collect(), naming, others, templates }
    }

    /// The name of the job's database.
    fn db_name(&self, job: &Job) -> Result<String, JobError> {
        self.naming.db_name(&job.name, job.id).map_err(|error| JobError::Permanent(error.to_string()))
    }

    /// Ends what an interrupted attempt left running on another node, where this node's lock of the name says nothing.
    fn end_elsewhere(&self, job: &Job, db_name: &str, session: &mut Session) -> Result<(), JobError> {
        let Some(others) = self.others.as_ref().filter(|_| job.interruptions > 0) else { return Ok(()) };
        check_claim(&self.entry(db_name, job, session)?, job)?;
        match elsewhere::end(others, db_name, LOCK_WAIT_S).map_err(not_asked)? {
            None => Ok(()),
            Some(node) => Err(JobError::Postponed(format!(
                "node {node}: an interrupted attempt still holds the lock of `{db_name}`"
            ))),
        }
    }

    /// Takes the lock of the job's database and decides what may be done under that name.
    fn enter(&self, job: &Job, db_name: &str, session: &mut Session) -> Result<Entered, JobError> {
        let mut locked = resource_server::lock(resource(session)?, db_name, 0).map_err(not_asked)?;
        let mut entry = self.entry(db_name, job, session)?;
        if !locked.held {
            // The lock's holder is the stale attempt only while this attempt owns the job; otherwise this attempt is stale.
            check_claim(&entry, job)?;
            resource_server::kill_holder(resource(session)?, db_name);
            locked = resource_server::lock(resource(session)?, db_name, LOCK_WAIT_S).map_err(not_asked)?;
            if !locked.held {
                return Err(JobError::Postponed(format!("another attempt still holds the lock of `{db_name}`")));
            }
            entry = self.entry(db_name, job, session)?;
        }
        check_claim(&entry, job)?;
        let verdict = registry::verdict(db_name, job, entry.row, locked.exists);
        Ok(Entered { verdict, recorded: entry.built })
    }

    fn reservation<'a>(&'a self, db_name: String, job: &'a Job) -> Reservation<'a> {
        let Job { res_type, .. } = job;
        let built = Built {
            template_version: self.templates.version(res_type),
            version: self.templates.migrations.newest(res_type),
        };
        Reservation { db_name, job, built }
    }

    /// Corrects the registry where it names other templates than those that are about to run: it may have been written by
    /// an earlier claim.
    fn record_built(
        &self,
        job: &Job,
        db_name: &str,
        recorded: Option<(String, u32)>,
        session: &mut Session,
    ) -> Result<(), JobError> {
        let reservation = self.reservation(db_name.into(), job);
        let Built { template_version, version } = reservation.built;
        if recorded.is_some_and(|(by, at)| by == template_version && at == version) {
            return Ok(());
        }
        registry::record_built(control(session)?, &self.naming.global_db, &reservation).map_err(not_asked)
    }

    fn entry(&self, db_name: &str, job: &Job, session: &mut Session) -> Result<Entry, JobError> {
        registry::entry(control(session)?, &self.naming.global_db, db_name, job.id).map_err(not_asked)
    }

    fn build(&self, job: &Job, db_name: &str, session: &mut Session) -> Result<(), Broken> {
        let Some(of_type) = self.templates.of_type(&job.res_type) else {
            let known = self.templates.types().collect::<Vec<_>>().join(", ");
            let message = format!("no templates for res_type {:?}; known types: {known}", job.res_type);
            return Err(JobError::Permanent(message).into());
        };
        let values = self.values(job, db_name);
        let in_none = self.templates.res_db.iter().map(|template| (template, false));
        let in_its_own = self.templates.res_tables.iter().chain(of_type).map(|template| (template, true));
        let mut is_selected = false;
        let mut files = in_none.chain(in_its_own).peekable();
        while let Some((template, in_database)) = files.next() {
            run(template, &values, in_database && !is_selected, session)?;
            is_selected |= in_database;
            if template.leaves_trace {
                commit(template, session)?;
                if files.peek().is_some() {
                    self.renew(job, db_name, session)?;
                    is_selected = false;
                }
            }
        }
        Ok(())
    }

    /// In one packet; None: nothing was done, and the attempt is to go step by step.
    fn build_at_once(
        &self,
        job: &Job,
        db_name: &str,
        session: &mut Session,
    ) -> Result<Option<Result<(), Broken>>, JobError> {
        let Some((one, of_type)) = self.at_once.get(&job.res_type).zip(self.templates.of_type(&job.res_type)) else {
            return Ok(None);
        };
        let (values, reservation) = (self.values(job, db_name), self.reservation(db_name.into(), job));
        let files: Vec<&Template> =
            self.templates.res_db.iter().chain(&self.templates.res_tables).chain(of_type).collect();
        let scripts: Vec<String> = files.iter().map(|template| template.render(&values)).collect();
        check_lease(session)?;
        Ok(Some(match one.build(&self.naming.global_db, &reservation, &scripts, session)? {
            Ended::Built => Ok(()),
            Ended::NotBegun => {
                session.renew()?;
                return Ok(None);
            }
            Ended::NotAsked(error) => Err(not_asked(error).into()),
            Ended::AtFile(at, statement, error) => Err(failed(files[at], statement, db_name, &error)),
        }))
    }

    fn values<'a>(&'a self, job: &'a Job, db_name: &'a str) -> Values<'a> {
        Values {
            global_db: &self.naming.global_db,
            res_db: db_name,
            res_name: &job.name,
            res_type: &job.res_type,
            res_url: job.url.as_deref().unwrap_or_default(),
            res_id: job.id,
        }
    }

    /// Resets the session for the next file. That releases the lock for a moment, in which nothing of this attempt runs: if
    /// another attempt takes it meanwhile, this one has lost the job.
    fn renew(&self, job: &Job, db_name: &str, session: &mut Session) -> Result<(), JobError> {
        session.renew()?;
        if !resource_server::lock(resource(session)?, db_name, 0).map_err(not_asked)?.held {
            return Err(JobError::Postponed("another attempt has the job".into()));
        }
        check_claim(&self.entry(db_name, job, session)?, job)
    }

    /// Drops this job's partly built database, then removes its row: if the drop fails, the registry still knows the database.
    fn undo(&self, job: &Job, db_name: &str, session: &mut Session) -> Result<(), JobError> {
        if resource_server::drop_if_exists(resource(session)?, db_name)? {
            registry::forget_dropped(control(session)?, &self.naming.global_db, db_name, job).map_err(not_asked)?;
        }
        Ok(())
    }

    /// Makes the stale row of a free name this job's.
    fn take_over(&self, job: &Job, db_name: &str, stale: Registered, session: &mut Session) -> Result<(), JobError> {
        let reservation = self.reservation(db_name.into(), job);
        let taken = registry::take_over(control(session)?, &self.naming.global_db, &reservation, stale);
        match taken.map_err(not_asked)? {
            true => Ok(()),
            false => Err(JobError::Postponed(format!("another job has taken the name `{db_name}` meanwhile"))),
        }
    }

    /// Removes this claim's row, since the database of that name is not this job's.
    fn forget(&self, job: &Job, db_name: &str, session: &mut Session) -> Result<(), JobError> {
        registry::forget(control(session)?, &self.naming.global_db, db_name, job).map_err(not_asked)
    }
}

/// The connection to the resource server. It holds the lock of the database's name.
fn resource(session: &mut Session) -> Result<&mut Conn, JobError> {
    session.conn()
}

/// The connection to the control server: the same one, as long as both are one server.
fn control(session: &mut Session) -> Result<&mut Conn, JobError> {
    session.conn()
}

fn check_claim(entry: &Entry, job: &Job) -> Result<(), JobError> {
    if entry.held_by == Some(job.claim_id) {
        return Ok(());
    }
    Err(JobError::Postponed("another attempt has the job".into()))
}

/// Drops what an earlier attempt left behind, which [`resource_server::lock`] has just found.
fn drop_earlier(conn: &mut Conn, db_name: &str) -> Result<(), JobError> {
    resource_server::drop_found(conn, db_name).map_err(|error| match error.code() {
        // MariaDB has no file descriptor left to open the folder.
        Some(ER_DB_DROP_EXISTS) => JobError::Postponed(error.to_string()),
        _ => error.into(),
    })
}

/// Runs one file, sent whole. With `select`, a USE of the resource's database is sent with it: a round trip less than
/// by itself.
fn run(template: &Template, values: &Values, select: bool, session: &mut Session) -> Result<(), Broken> {
    check_lease(session)?;
    let select_db = if select { format!("USE {}; ", ident(values.res_db)) } else { String::new() };
    let script = select_db + &template.render(values);
    db::run_script(resource(session)?, &script).map_err(|db::ScriptError { statement, error }| {
        if select && statement == 1 {
            return JobError::of_queue(&error).into();
        }
        failed(template, statement - usize::from(select), values.res_db, &error)
    })
}

fn check_lease(session: &Session) -> Result<(), JobError> {
    if session.is_lease_valid() { Ok(()) } else { Err(JobError::Postponed("this daemon's lease ran out".into())) }
}

/// Commits a transaction that the file left open: exports begin with `SET autocommit = 0`.
fn commit(template: &Template, session: &mut Session) -> Result<(), JobError> {
    resource(session)?.query_drop("COMMIT").map_err(Error::from).map_err(|error| {
        JobError::of_statement(&error, format!("{}, COMMIT after the last statement: {error}", template.name))
    })
}

impl Builder {
    fn run(&self, job: &Job, session: &mut Session) -> JobResult {
        let db_name = self.db_name(job)?;
        self.end_elsewhere(job, &db_name, session)?;
        if let Some(built) = self.build_at_once(job, &db_name, session)? {
            return self.conclude(job, db_name, built, session);
        }
        let Entered { verdict, recorded } = self.enter(job, &db_name, session)?;
        match verdict {
            Verdict::Build => self.record_built(job, &db_name, recorded, session)?,
            Verdict::DropAndBuild => {
                drop_earlier(resource(session)?, &db_name)?;
                self.record_built(job, &db_name, recorded, session)?;
            }
            Verdict::TakeOver(stale) => self.take_over(job, &db_name, stale, session)?,
            Verdict::Refuse(why) => {
                self.forget(job, &db_name, session)?;
                return Err(JobError::Permanent(why));
            }
            Verdict::TryAgain(why) => return Err(JobError::Failed(why)),
        }
        let built = self.build(job, &db_name, session);
        self.conclude(job, db_name, built, session)
    }

    fn conclude(&self, job: &Job, db_name: String, built: Result<(), Broken>, session: &mut Session) -> JobResult {
        match built {
            Ok(()) => Ok(Some(db_name)),
            Err(Broken::NotOurs(text)) => {
                self.forget(job, &db_name, session)?;
                Err(JobError::Permanent(text))
            }
            // The next attempt drops what exists; this one has lost its connection or its right to do so.
            Err(Broken::Failed(error @ (JobError::Interrupted(_) | JobError::Postponed(_)))) => Err(error),
            // The file that failed may have locked tables.
            Err(Broken::Failed(error)) => {
                Err(match self.renew(job, &db_name, session).and_then(|()| self.undo(job, &db_name, session)) {
                    Ok(()) => error,
                    Err(undo @ (JobError::Interrupted(_) | JobError::Postponed(_))) => undo,
                    Err(JobError::Failed(why) | JobError::Permanent(why)) => {
                        error.and_also(&format!("and the partly built database could not be dropped: {why}"))
                    }
                })
            }
        }
    }

    fn abandon(&self, job: &Job, session: &mut Session) -> Result<(), JobError> {
        let db_name = self.db_name(job)?;
        self.end_elsewhere(job, &db_name, session)?;
        match self.enter(job, &db_name, session)?.verdict {
            Verdict::DropAndBuild | Verdict::Build => self.undo(job, &db_name, session),
            _ => Ok(()),
        }
    }
}

impl TransactionHooks for DatabaseBuilder {
    fn reserve(&self, conn: &mut Conn, jobs: &[Job]) -> Result<(), Error> {
        let current = self.current();
        let reservations = jobs.iter().filter_map(|job| {
            // `run` reports a name that cannot be used.
            let db_name = current.db_name(job).ok()?;
            Some(current.reservation(db_name, job))
        });
        registry::reserve(conn, &reservations.collect::<Vec<_>>())
    }

    fn release(&self, conn: &mut Conn, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error> {
        registry::release(conn, claim_id, ids)
    }

    fn record_outcomes(&self, conn: &mut Conn, outcomes: &[&Outcome]) -> Result<(), Error> {
        let made = outcomes.iter().filter_map(|outcome| outcome.attempt.result.as_ref().ok()?.as_deref());
        registry::ready(conn, &made.collect::<Vec<_>>())
    }
}
