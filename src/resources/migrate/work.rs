//! What attempts of a rollout work with: its files, the databases that are offered to them, and what a file's variables are
//! for one of these. Pure.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{
    files::Migration,
    ledger::{Claimed, Registered},
};
use crate::{db::OtherHosts, resources::template::Values};

/// What all attempts of a rollout need.
pub struct Plan {
    /// Its number.
    pub rollout: u64,
    /// The global database, unquoted.
    pub global_db: String,
    /// The migrations, in the order of their numbers.
    pub files: Vec<Migration>,
    /// The cluster's other nodes, on which an earlier attempt may have left a statement running.
    pub others: OtherHosts,
    /// How many databases may be begun together, as the last ones took.
    together: AtomicUsize,
    /// Migrations whose texts are known to be kept, by their numbers.
    kept: Mutex<BTreeSet<u32>>,
}

/// A database that no attempt of any rollout has begun, as it was read some time ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its row of the rollout.
    pub database: Claimed,
    /// Its row of the registry.
    pub registered: Registered,
    /// Until when it is taken to have nothing of what its files add; None: it has some of it, or that is not known.
    pub new_until: Option<Instant>,
}

impl Plan {
    /// Of a rollout that this daemon has not taken part in yet.
    pub fn new(rollout: u64, global_db: String, files: Vec<Migration>, others: OtherHosts) -> Plan {
        Plan { rollout, global_db, files, others, together: AtomicUsize::new(1), kept: Mutex::default() }
    }

    /// The files that a database of this version lacks.
    pub fn due(&self, database: &Claimed, version: u32) -> Vec<&Migration> {
        let is_due = |file: &&Migration| {
            file.is_for(&database.res_type) && file.number > version && file.number <= database.to_version
        };
        self.files.iter().filter(is_due).collect()
    }

    /// How many databases may be begun together. On a cluster each by itself: what a killed daemon has left running on a node must
    /// not go on to a database that another node has claimed since.
    pub fn together(&self) -> usize {
        if self.others.are_none() { self.together.load(Relaxed) } else { 1 }
    }

    /// So many may be begun from now on.
    pub fn may_begin_together(&self, databases: usize) {
        self.together.store(databases, Relaxed);
    }

    /// Whether the text of this migration is known to be kept.
    pub fn is_kept(&self, number: u32) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// It is: the transaction that keeps it was committed.
    pub fn keeps(&self, number: u32) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    /// What the variables in the files are for this database.
    pub fn values<'a>(&'a self, database: &'a Claimed, registered: &'a Registered) -> Values<'a> {
        Values {
            global_db: &self.global_db,
            res_db: &database.db_name,
            res_name: &registered.res_name,
            res_type: &database.res_type,
            res_url: &registered.res_url,
            res_id: database.res_id,
        }
    }
}
