//! Finds drift: compares databases of the registry with the reference of their own version. Reads many at a time, and keeps
//! in memory only those that it compares at that moment. Changes nothing in them, and keeps what it found with the registry.

use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::{
    drift::{self, Checked, Verdict, Written},
    references::{NoReference, References, Version},
    resource_server,
    shape::{Difference, Identity, Key, Kind, Pace, Reader, Shape, What},
};
use crate::{
    base::exact::integer,
    db::{self, Db, Error, Link, ReadRows, id_list, literal},
};

/// How often a database is read again that changed while it was compared.
const TRIES: u32 = 3;

/// Which databases to check.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Those of these jobs; empty: of all jobs.
    pub ids: Vec<u64>,
    /// Only those of this type.
    pub res_type: Option<String>,
}

/// A database of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name, its job, and that job's name and URL.
    pub identity: Identity,
    /// What it should look like.
    pub version: Version,
}

/// What a check found about a database.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It is as it should be.
    Same,
    /// It differs in these ways.
    Differs(Vec<Difference>),
    /// It could not be compared; why.
    Unknown(Unknown),
}

/// Why a database could not be compared.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unknown {
    /// A session builds, migrates or drops it.
    #[error("it is being changed at this moment; check it again")]
    IsChanging,
    /// Each time it was read, its row of the registry was another one afterwards.
    #[error("it changed several times meanwhile; check it again")]
    KeptChanging,
    /// What it should look like is not known.
    #[error("{0}")]
    NoReference(Rc<NoReference>),
}

impl Finding {
    /// In a word.
    pub fn verdict(&self) -> Verdict {
        match self {
            Finding::Same => Verdict::Same,
            Finding::Differs(_) => Verdict::Differs,
            Finding::Unknown(_) => Verdict::Unknown,
        }
    }

    /// The differences, or why the database could not be compared.
    fn lines(&self) -> Vec<String> {
        match self {
            Finding::Same => Vec::new(),
            Finding::Differs(all) => all.iter().map(Difference::to_string).collect(),
            Finding::Unknown(why) => vec![why.to_string()],
        }
    }
}

/// How many databases were found how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// As they should be.
    pub same: u64,
    /// Different.
    pub differ: u64,
    /// Not to be compared.
    pub unknown: u64,
}

impl Summary {
    /// An object for programs.
    pub fn to_json(self) -> Json {
        json!({
            "checked": self.same + self.differ + self.unknown, "same": self.same, "differ": self.differ,
            "unknown": self.unknown,
        })
    }
}

/// An object for programs.
pub fn to_json(candidate: &Candidate, finding: &Finding) -> Json {
    let (why, differences) = match finding {
        Finding::Same => (None, Vec::new()),
        Finding::Differs(all) => (None, all.iter().map(Difference::to_json).collect()),
        Finding::Unknown(why) => (Some(why.to_string()), Vec::new()),
    };
    json!({
        "db_name": candidate.identity.db_name, "res_id": integer(candidate.identity.res_id),
        "res_type": candidate.version.res_type, "version": candidate.version.version, "state": finding.verdict().as_str(), "why": why,
        "differences": differences,
    })
}

/// Compares databases with their references.
pub struct Checker<'a> {
    control: Link,
    conn: db::Conn,
    reader: Reader,
    references: References<'a>,
}

impl<'a> Checker<'a> {
    /// For the registry of `control` and databases on `resources`. Needs two connections beside those of the scratch
    /// databases.
    ///
    /// # Errors
    /// The server cannot be used.
    pub fn new(control: &Db, resources: &Db, references: References<'a>) -> Result<Checker<'a>, Error> {
        let mut conn = resources.any()?;
        let reader = Reader::new(&mut conn)?;
        Ok(Checker { control: Link::new(control), conn, reader, references })
    }

    /// Checks these databases in the order of their names, hands over what it found about each, and keeps it.
    ///
    /// # Errors
    /// A statement failed.
    pub fn run(&mut self, which: &Which, mut report: impl FnMut(&Candidate, &Finding)) -> Result<Summary, Error> {
        self.references.sweep()?;
        let is_of_all = which.ids.is_empty() && which.res_type.is_none();
        let (written, begun_at) =
            (if is_of_all { Written::Changed } else { Written::All }, self.control.run(drift::now)?);
        let (mut summary, mut pace, mut after) = (Summary::default(), Pace::default(), None);
        loop {
            let page = self.page(which, after.as_deref(), pace.next())?;
            let Some(last) = page.last() else { break };
            after = Some(last.identity.db_name.clone());
            let names: Vec<&str> = page.iter().map(|one| one.identity.db_name.as_str()).collect();
            let mut shapes = self.reader.read(&mut self.conn, &names)?;
            pace.read(page.len(), shapes.values().map(|shape| shape.objects.len()).sum());
            let mut checked = Vec::with_capacity(page.len());
            for candidate in page {
                let shape = shapes.remove(&candidate.identity.db_name);
                let Some((candidate, finding)) = self.find(candidate, shape)? else { continue };
                let verdict = finding.verdict();
                match verdict {
                    Verdict::Same => summary.same += 1,
                    Verdict::Differs => summary.differ += 1,
                    Verdict::Unknown => summary.unknown += 1,
                }
                report(&candidate, &finding);
                let (db_name, version) = (candidate.identity.db_name, candidate.version.version);
                checked.push(Checked { db_name, version, verdict, found: finding.lines() });
            }
            self.control.run(|conn| drift::keep(conn, &checked, written))?;
        }
        if is_of_all {
            self.control.run(|conn| drift::all_checked(conn, &begun_at))?;
        }
        Ok(summary)
    }

    /// None: the database is no longer in the registry.
    fn find(
        &mut self,
        mut candidate: Candidate,
        mut shape: Option<Shape>,
    ) -> Result<Option<(Candidate, Finding)>, Error> {
        for _ in 0..TRIES {
            let finding = self.compare(&candidate, shape.as_ref())?;
            let Finding::Differs(_) = finding else { return Ok(Some((candidate, finding))) };
            // It may have been migrated or dropped between the two reads, or be in the middle of that.
            let db_name = candidate.identity.db_name.clone();
            if self.is_changing(&db_name)? {
                return Ok(Some((candidate, Finding::Unknown(Unknown::IsChanging))));
            }
            let now = self.rows(&format!("d.db_name = {}", literal(&db_name)), 1)?.pop();
            match now {
                None => return Ok(None),
                Some(now) if now == candidate => return Ok(Some((candidate, finding))),
                Some(now) => candidate = now,
            }
            shape = self.reader.read(&mut self.conn, &[&db_name])?.remove(&db_name);
        }
        Ok(Some((candidate, Finding::Unknown(Unknown::KeptChanging))))
    }

    fn is_changing(&mut self, db_name: &str) -> Result<bool, Error> {
        // On a cluster the lock is of one node only, and a rollout's worker releases it between two files.
        let migrating = format!(
            "SELECT 1 FROM res_meta m JOIN res_rollout_database r ON r.rollout = CAST(m.value AS UNSIGNED) \
             WHERE m.name = 'rollout' AND r.db_name = {} AND r.state = 'running'",
            literal(db_name)
        );
        Ok(resource_server::is_locked(&mut self.conn, db_name)?
            || self.control.run(|conn| conn.read_first::<u8>(&migrating))?.is_some())
    }

    fn compare(&mut self, candidate: &Candidate, shape: Option<&Shape>) -> Result<Finding, Error> {
        let Some(shape) = shape else {
            let key = Key::own(Kind::Database, "");
            return Ok(Finding::Differs(vec![Difference { key, what: What::Missing }]));
        };
        let reference = match self.references.of(&mut self.control, &candidate.version)? {
            Ok(reference) => reference,
            Err(why) => return Ok(Finding::Unknown(Unknown::NoReference(why))),
        };
        let differences = reference.compare(shape, &candidate.identity);
        Ok(if differences.is_empty() { Finding::Same } else { Finding::Differs(differences) })
    }

    fn page(&mut self, which: &Which, after: Option<&str>, limit: usize) -> Result<Vec<Candidate>, Error> {
        let mut all = vec!["TRUE".to_string()];
        all.extend(after.map(|after| format!("d.db_name > {}", literal(after))));
        all.extend(which.res_type.as_ref().map(|res_type| format!("d.res_type = {}", literal(res_type))));
        if !which.ids.is_empty() {
            all.push(format!("d.res_id IN ({})", id_list(&which.ids)));
        }
        self.rows(&all.join(" AND "), limit)
    }

    fn rows(&mut self, condition: &str, limit: usize) -> Result<Vec<Candidate>, Error> {
        let sql = format!(
            "SELECT d.db_name, d.res_id, CAST(q.res_name AS BINARY), CAST(q.res_url AS BINARY), d.res_type, \
             d.template_version, d.built_version, d.version \
             FROM res_database d FORCE INDEX (PRIMARY) LEFT JOIN res_queue q ON q.res_id = d.res_id \
             WHERE d.state = 'ready' AND d.dropping_at IS NULL AND {condition} ORDER BY d.db_name LIMIT {limit}"
        );
        type Columns = (String, u64, Option<Vec<u8>>, Option<Vec<u8>>, String, String, u32, u32);
        let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let candidate = |row: Columns| {
            let (db_name, res_id, res_name, res_url, res_type, template_version, built_version, version) = row;
            Candidate {
                identity: Identity { db_name, res_name: text(res_name), res_url: text(res_url), res_id },
                version: Version { res_type, template_version, built_version, version },
            }
        };
        let rows: Vec<Columns> = self.control.run(|conn| conn.read_rows(&sql))?;
        Ok(rows.into_iter().map(candidate).collect())
    }
}
