//! Building a database in one round trip, where nothing speaks against it: the job's own claim has entered the name, and the
//! files of its type are plain. Lock, check, files and release are one packet, which stops at the first that fails. In any other
//! case nothing has been done, and the attempt goes step by step.

use super::{
    plain::{Plain, creates_only, plain},
    registry::{self, Reservation},
    resource_server,
    template::{Template, Values},
};
use crate::{
    db::{Error, Packet, Stopped, codes::ER_DB_CREATE_EXISTS, ident},
    queue::{JobError, Session},
};

/// Scripts together not larger than this are sent as one: every server takes it, and the lease is checked between packets.
const MAX_BYTES: usize = 128 << 10;
/// A name for looking at the files once and for all.
const SAMPLE: &str = "res_sample";

/// The files of one type, as they are sent together.
pub struct OnePacket {
    /// How many statements each file has, first those that run in no database.
    statements: Vec<usize>,
    in_none: usize,
}

/// What became of an attempt.
pub enum Ended {
    /// The database is built.
    Built,
    /// Nothing was done: go step by step, in a fresh session.
    NotBegun,
    /// The registry, the lock or the choice of the database failed.
    NotAsked(Error),
    /// A statement of this file failed.
    AtFile(usize, usize, Error),
}

#[derive(Clone, Copy)]
enum Part {
    Lock,
    Check,
    File(usize),
    Select,
    Leave,
}

impl OnePacket {
    /// Of the files that run in no database and those that run in the resource's; None: they are not sent as one.
    pub fn of<'a>(
        in_none: impl Iterator<Item = &'a Template>,
        in_its_own: impl Iterator<Item = &'a Template>,
    ) -> Option<OnePacket> {
        let values = Values { global_db: "resq", res_db: SAMPLE, ..Values::default() };
        let (mut statements, mut bytes) = (Vec::new(), 0);
        for template in in_none {
            creates_only(&template.render(&values), SAMPLE).then_some(())?;
            statements.push(1);
            bytes += template.max_bytes();
        }
        // A second one would fail.
        (statements.len() == 1).then_some(())?;
        let mut all = Plain::default();
        for template in in_its_own {
            let found = plain(&template.render(&values)).filter(|_| !template.leaves_trace)?;
            statements.push(found.statements);
            bytes += template.max_bytes();
            all.inserts |= found.inserts;
            all.makes_triggers |= found.makes_triggers;
        }
        // A trigger may call what is stored in other databases.
        let is_plain = !(all.inserts && all.makes_triggers) && bytes <= MAX_BYTES;
        is_plain.then_some(OnePacket { statements, in_none: 1 })
    }

    /// Builds the database of `reservation` by these scripts, one for each file.
    pub fn build(
        &self,
        global_db: &str,
        reservation: &Reservation<'_>,
        scripts: &[String],
        session: &mut Session,
    ) -> Result<Ended, JobError> {
        let db_name = &reservation.db_name;
        let mut packet = Packet::default();
        packet.add(Part::Lock, 1, &resource_server::take_lock(db_name));
        let may_build =
            format!("{} AND {}", resource_server::holds_lock(db_name), registry::is_reserved(global_db, reservation));
        packet.require(Part::Check, &may_build);
        for (at, (script, statements)) in scripts.iter().zip(&self.statements).enumerate() {
            if at == self.in_none {
                packet.add(Part::Select, 1, &format!("USE {}", ident(db_name)));
            }
            packet.add(Part::File(at), *statements, script);
        }
        packet.add(Part::Leave, 1, &format!("USE {}", ident(global_db)));
        packet.add(Part::Leave, 1, &resource_server::release_lock(db_name));
        let Err(stopped) = packet.run(session.conn_as_left()?) else {
            session.keep();
            return Ok(Ended::Built);
        };
        let is_unmet = stopped.is_unmet();
        let Stopped { purpose, statement, error } = stopped;
        Ok(match purpose {
            Part::Check if is_unmet => Ended::NotBegun,
            // The registry and the queue say what to do about a database that is there.
            Part::File(0) if error.code() == Some(ER_DB_CREATE_EXISTS) => Ended::NotBegun,
            Part::File(at) => Ended::AtFile(at, statement, error),
            Part::Lock | Part::Check | Part::Select | Part::Leave => Ended::NotAsked(error),
        })
    }
}
