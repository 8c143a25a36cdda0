//! Takes databases that were made by others into the registry, as if resq had built them, once their shape is what their
//! version should have. Changes nothing in them.

use std::{collections::BTreeMap, rc::Rc};

use mysql::{Conn, prelude::Queryable};

use super::{
    Templates,
    references::{NoReference, References, Version},
    resource_server,
    scratch::is_scratch,
    shape::{Difference, Identity, Pace, Reader, Shape},
    template_sets,
};
use crate::{
    config::SYSTEM_DATABASES,
    db::{self, Db, Error, Link, ReadRows, codes::ER_DUP_ENTRY, literal},
    queue::audit::{self, Actor},
};

/// What the databases of one call are taken for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Their type.
    pub res_type: &'a str,
    /// The migration that they have; None: the newest.
    pub version: Option<u32>,
    /// The resource's name; None: each database's, without the prefix.
    pub res_name: Option<&'a str>,
    /// Also those that differ.
    pub force: bool,
}

/// What became of one database.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is this job's now. The differences are those that `force` overruled.
    Adopted(u64, Vec<Difference>),
    /// It differs from what it should be.
    Differs(Vec<Difference>),
    /// It cannot be adopted; why.
    Refused(Refusal),
}

/// Why a database cannot be adopted, whatever its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `mysql`, `sys` and their kin.
    #[error("it is one of the server's own databases")]
    System,
    /// The global database.
    #[error("it holds the queue")]
    Queue,
    /// The global database of another installation.
    #[error("it holds the queue of another installation of resq")]
    OtherQueue,
    /// It is there for a moment only.
    #[error("it is a scratch database of resq's")]
    Scratch,
    /// None is seen.
    #[error("there is no database of this name, or this account has no privilege on it")]
    Missing,
    /// Another session holds the lock of its name.
    #[error("another session is building, changing or dropping it at this moment")]
    Busy,
    /// The registry has it.
    #[error("it belongs to job {0} already")]
    Registered(u64),
}

/// Why no database was looked at.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// There are no templates for this type.
    #[error("no templates for type {0:?}; known types: {1}")]
    UnknownType(String, String),
    /// What a database of this version looks like is not known.
    #[error("what a database of type {0:?} at version {1} looks like is not known: {2}")]
    NoReference(String, u32, Rc<NoReference>),
    /// No database of the registry says what one of this older version looks like.
    #[error(
        "what a database of type {0:?} at version {1} looks like is not known: the registry has no database that was built \
         for it; the newest version is {2}"
    )]
    NoExample(String, u32, u32),
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Adopts databases, for an operator.
pub struct Adopter<'a> {
    control: Link,
    conn: db::Conn,
    reader: Reader,
    references: References<'a>,
    templates: &'a Templates,
    global_db: String,
    prefix: String,
    actor: Actor,
}

impl<'a> Adopter<'a> {
    /// Needs two connections beside those of the scratch databases.
    ///
    /// # Errors
    /// The server cannot be used.
    pub fn new(
        control: &Db,
        resources: &Db,
        references: References<'a>,
        templates: &'a Templates,
        prefix: &str,
        actor: Actor,
    ) -> Result<Adopter<'a>, Error> {
        let mut conn = resources.any()?;
        let reader = Reader::new(&mut conn)?;
        let (global_db, prefix) = (control.global_db().to_string(), prefix.to_string());
        Ok(Adopter { control: Link::new(control), conn, reader, references, templates, global_db, prefix, actor })
    }

    /// Adopts these databases one by one, and hands over what became of each.
    ///
    /// # Errors
    /// None was looked at, or a statement failed; then those that were reported before are adopted.
    pub fn run(
        &mut self,
        db_names: &[String],
        request: &Request<'_>,
        mut report: impl FnMut(&str, &Outcome),
    ) -> Result<(), AdoptError> {
        let version = self.version(request)?;
        self.references.sweep()?;
        let reference = self
            .references
            .of(&mut self.control, &version)?
            .map_err(|why| AdoptError::NoReference(version.res_type.clone(), version.version, why))?;
        let (mut pace, mut left) = (Pace::default(), db_names);
        while !left.is_empty() {
            let (page, rest) = left.split_at(pace.next().min(left.len()));
            left = rest;
            let names: Vec<&str> = page.iter().map(String::as_str).collect();
            let mut shapes = self.reader.read(&mut self.conn, &names)?;
            pace.read(page.len(), shapes.values().map(|shape| shape.objects.len()).sum());
            for db_name in page {
                let outcome = match self.refusal(db_name, &mut shapes) {
                    Err(why) => Outcome::Refused(why),
                    Ok(shape) => {
                        let identity = self.identity(db_name, request);
                        let differences = reference.compare(&shape, &identity);
                        match differences.is_empty() || request.force {
                            true => self.enter(&identity, &version, differences)?,
                            false => Outcome::Differs(differences),
                        }
                    }
                };
                report(db_name, &outcome);
            }
        }
        Ok(())
    }

    /// By which files a database of the wanted version is built: today's, or for an older one those of a database that
    /// has been at it.
    fn version(&mut self, request: &Request<'_>) -> Result<Version, AdoptError> {
        let res_type = request.res_type;
        if self.templates.of_type(res_type).is_none() {
            let known = self.templates.types().collect::<Vec<_>>().join(", ");
            return Err(AdoptError::UnknownType(res_type.into(), known));
        }
        // No daemon may have served with them yet.
        let templates = self.templates;
        self.control.run(|conn| template_sets::keep(conn, templates))?;
        let newest = templates.migrations.newest(res_type);
        let version = request.version.unwrap_or(newest);
        let (template_version, built_version) = if version == newest {
            (templates.version(res_type).to_string(), newest)
        } else {
            let sql = format!(
                "SELECT d.template_version, d.built_version FROM res_database d WHERE d.res_type = {} \
                 AND d.built_version <= {version} AND d.version >= {version} \
                 AND EXISTS (SELECT 1 FROM res_template t WHERE t.template_version = d.template_version) \
                 ORDER BY d.built_version DESC, d.created_at DESC LIMIT 1",
                literal(res_type)
            );
            let found: Option<(String, u32)> = self.control.run(|conn| conn.read_first(&sql))?;
            found.ok_or_else(|| AdoptError::NoExample(res_type.into(), version, newest))?
        };
        Ok(Version { res_type: res_type.into(), template_version, built_version, version })
    }

    fn identity(&self, db_name: &str, request: &Request<'_>) -> Identity {
        let of_database = db_name.strip_prefix(&self.prefix).filter(|rest| !rest.is_empty()).unwrap_or(db_name);
        let res_name = request.res_name.unwrap_or(of_database).to_string();
        Identity { db_name: db_name.into(), res_name, res_url: String::new(), res_id: 0 }
    }

    /// The database's shape, or why the database cannot be adopted whatever its shape.
    fn refusal(&self, db_name: &str, shapes: &mut BTreeMap<String, Shape>) -> Result<Shape, Refusal> {
        if SYSTEM_DATABASES.iter().any(|system| system.eq_ignore_ascii_case(db_name)) {
            return Err(Refusal::System);
        }
        if self.global_db.eq_ignore_ascii_case(db_name) {
            return Err(Refusal::Queue);
        }
        if is_scratch(&self.prefix, db_name) {
            return Err(Refusal::Scratch);
        }
        let shape = shapes.remove(db_name).ok_or(Refusal::Missing)?;
        if ["res_queue", "res_meta", "res_database"].iter().all(|table| shape.columns.contains_key(*table)) {
            return Err(Refusal::OtherQueue);
        }
        Ok(shape)
    }

    fn enter(
        &mut self,
        identity: &Identity,
        version: &Version,
        overruled: Vec<Difference>,
    ) -> Result<Outcome, AdoptError> {
        let db_name = &identity.db_name;
        // A session that builds, changes or drops a database of this name holds it.
        if !resource_server::lock(&mut self.conn, db_name, 0)?.held {
            return Ok(Outcome::Refused(Refusal::Busy));
        }
        let actor = &self.actor;
        let entered = self.control.run(|conn| entered(conn, identity, version, actor));
        resource_server::unlock(&mut self.conn, db_name)?;
        match entered {
            Ok(Ok(res_id)) => Ok(Outcome::Adopted(res_id, overruled)),
            Ok(Err(owner)) => Ok(Outcome::Refused(Refusal::Registered(owner))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Enters the job and its database in one transaction; `Err` is the job that has the database already.
fn entered(conn: &mut Conn, identity: &Identity, version: &Version, actor: &Actor) -> Result<Result<u64, u64>, Error> {
    let Identity { db_name, res_name, .. } = identity;
    let Version { res_type, template_version, built_version, version } = version;
    let (name, res_type) = (literal(db_name), literal(res_type));
    conn.query_drop("START TRANSACTION")?;
    conn.query_drop(format!(
        "INSERT INTO res_queue (res_name, res_type, status, db_name) VALUES ({}, {res_type}, 'done', {name})",
        literal(res_name)
    ))?;
    let res_id = conn.last_insert_id();
    let registered = conn.query_drop(format!(
        "INSERT INTO res_database (db_name, res_id, res_type, state, template_version, claim_id, version, built_version) \
         VALUES ({name}, {res_id}, {res_type}, 'ready', {}, 0, {version}, {built_version})",
        literal(template_version)
    ));
    match registered.map_err(Error::from) {
        Ok(()) => {}
        Err(error) if error.code() == Some(ER_DUP_ENTRY) => {
            conn.query_drop("ROLLBACK")?;
            let sql = format!("SELECT res_id FROM res_database WHERE db_name = {name}");
            return Ok(Err(conn.read_first(sql)?.unwrap_or_default()));
        }
        Err(error) => return Err(error),
    }
    audit::record(conn, actor, "adopt", &format!("database {db_name} as job {res_id}"), 1)?;
    conn.query_drop("COMMIT")?;
    Ok(Ok(res_id))
}
