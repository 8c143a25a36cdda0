//! The references of one run, each built once: what a database should look like by its own version, whatever the templates
//! on disk say today.

use std::{collections::HashMap, rc::Rc};

use super::{
    Templates,
    migrate::{
        applied,
        files::{Migration, MigrationError},
    },
    reference::{self, Reference, ReferenceError},
    scratch::ScratchDatabases,
    template::TemplateError,
    template_sets::{self, SetError, TemplateSet},
};
use crate::db::{Error, Link};

/// Which shape a database should have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Its type.
    pub res_type: String,
    /// The templates that it was built by.
    pub template_version: String,
    /// The newest migration that those templates contain.
    pub built_version: u32,
    /// The newest migration that it has.
    pub version: u32,
}

/// Why there is no reference of a version.
#[derive(Debug, thiserror::Error)]
pub enum NoReference {
    /// Built by other files than today's, before texts were kept, and not at the newest version.
    #[error(
        "the templates that built it were not kept (that was before version 4 of the schema), and it is not at the newest \
         version; migrate it, then check again"
    )]
    NotKept,
    /// This program refuses what an earlier one ran.
    #[error("the templates that built it cannot be used: {0}")]
    Templates(TemplateError),
    /// This program refuses a migration that an earlier one ran.
    #[error("a migration that it has cannot be used: {0}")]
    Migration(MigrationError),
    /// Neither the control database nor the files on disk have the migration of this number.
    #[error("it is at version {0}, whose migration is not known here")]
    UnknownVersion(u32),
    /// Its files fail in a scratch database.
    #[error("its version cannot be built again: {0}")]
    Fails(ReferenceError),
}

/// A reference, or why there is none. Both are kept.
pub type Found = Result<Rc<Reference>, Rc<NoReference>>;

/// Builds references, and keeps them.
pub struct References<'a> {
    scratch: ScratchDatabases,
    global_db: String,
    templates: &'a Templates,
    /// What the control database has kept; read when first needed.
    applied: Option<Vec<Migration>>,
    built: HashMap<Version, Found>,
}

impl<'a> References<'a> {
    /// `templates` are those on disk.
    pub fn new(scratch: ScratchDatabases, global_db: &str, templates: &'a Templates) -> References<'a> {
        References { scratch, global_db: global_db.into(), templates, applied: None, built: HashMap::new() }
    }

    /// Removes what an earlier run has left.
    ///
    /// # Errors
    /// A statement failed.
    pub fn sweep(&mut self) -> Result<usize, Error> {
        self.scratch.sweep()
    }

    /// The reference of a version. It is built by the files that built the databases of that version, and the migrations
    /// that they have got since, as the control database keeps them. Databases from before that was kept have one only if
    /// they are at the newest version: then today's templates describe them.
    ///
    /// # Errors
    /// The server cannot be used.
    pub fn of(&mut self, control: &mut Link, version: &Version) -> Result<Found, Error> {
        if let Some(found) = self.built.get(version) {
            return Ok(found.clone());
        }
        let found = self.build(control, version)?.map(Rc::new).map_err(Rc::new);
        self.built.insert(version.clone(), found.clone());
        Ok(found)
    }

    fn build(&mut self, control: &mut Link, version: &Version) -> Result<Result<Reference, NoReference>, Error> {
        let Version { res_type, template_version, built_version, version: number } = version;
        let newest = self.templates.migrations.newest(res_type);
        let is_todays = self.templates.version(res_type) == template_version;
        let kept = match is_todays {
            true => TemplateSet::of(self.templates, res_type),
            false => match control.run(|conn| match template_sets::load(conn, template_version) {
                Ok(set) => Ok(Ok(set)),
                Err(SetError::Database(error)) => Err(error),
                Err(SetError::Template(error)) => Ok(Err(error)),
            })? {
                Ok(set) => set,
                Err(error) => return Ok(Err(NoReference::Templates(error))),
            },
        };
        let (set, after) = match (kept, TemplateSet::of(self.templates, res_type)) {
            (Some(set), _) => (set, *built_version),
            (None, Some(set)) if *number == newest => (set, newest),
            _ => return Ok(Err(NoReference::NotKept)),
        };
        let migrations = match self.migrations(control, res_type, after, *number)? {
            Ok(migrations) => migrations,
            Err(why) => return Ok(Err(why)),
        };
        let migrations: Vec<&Migration> = migrations.iter().collect();
        match reference::build(&mut self.scratch, &self.global_db, res_type, &set, &migrations) {
            Ok(reference) => Ok(Ok(reference)),
            Err(error) => Ok(Err(NoReference::Fails(error.of_files()?))),
        }
    }

    /// The migrations of a type from behind `after` up to `last`: as databases got them, else as they are on disk.
    fn migrations(
        &mut self,
        control: &mut Link,
        res_type: &str,
        after: u32,
        last: u32,
    ) -> Result<Result<Vec<Migration>, NoReference>, Error> {
        if after >= last {
            return Ok(Ok(Vec::new()));
        }
        if self.applied.is_none() {
            match control.run(applied::all)? {
                Ok(applied) => self.applied = Some(applied),
                Err(error) => return Ok(Err(NoReference::Migration(error))),
            }
        }
        let applied = self.applied.as_deref().unwrap_or_default();
        let on_disk =
            self.templates.migrations.iter().filter(|one| !applied.iter().any(|kept| kept.number == one.number));
        let mut all: Vec<&Migration> = applied.iter().chain(on_disk).collect();
        all.sort_by_key(|migration| migration.number);
        if all.last().is_none_or(|newest| newest.number < last) {
            return Ok(Err(NoReference::UnknownVersion(last)));
        }
        let is_in = |one: &&&Migration| one.is_for(res_type) && one.number > after && one.number <= last;
        Ok(Ok(all.iter().filter(is_in).map(|one| (*one).clone()).collect()))
    }
}
