//! What records that a migration is complete, of one database or of several. Pure.

use super::{
    ledger::{Claim, Migrated},
    position::Position,
    stretch::Part,
    work::Plan,
};
use crate::db::{Packet, requirement};

/// Statements for a transaction that is open.
pub struct Completion {
    /// The migration.
    pub number: u32,
    /// The databases' names.
    pub databases: Vec<String>,
    /// They are migrated.
    pub is_last: bool,
    statements: Vec<String>,
}

impl Completion {
    /// Of databases whose last statements of their last migration were recorded as begun.
    pub fn of_begun(claim: &Claim, plan: &Plan, number: u32, migrated: &[Migrated<'_>]) -> Completion {
        let names: Vec<&str> = migrated.iter().map(|one| one.database.db_name.as_str()).collect();
        let recorded = vec![claim.end(&names, number), requirement(&format!("ROW_COUNT() = {}", names.len()))];
        Completion::behind(recorded, claim, plan, number, migrated, true)
    }

    /// Of one that has reached this position. With `is_last` it is migrated.
    pub fn of_one(claim: &Claim, plan: &Plan, reached: &Position, migrated: Migrated<'_>, is_last: bool) -> Completion {
        let reach = claim.reach(&migrated.database.db_name, reached, true);
        let recorded = vec![reach, requirement("ROW_COUNT() > 0")];
        Completion::behind(recorded, claim, plan, reached.number, &[migrated], is_last)
    }

    fn behind(
        mut statements: Vec<String>,
        claim: &Claim,
        plan: &Plan,
        number: u32,
        migrated: &[Migrated<'_>],
        is_last: bool,
    ) -> Completion {
        statements.extend((!plan.is_kept(number)).then(|| claim.keep_text(number)));
        statements.extend(claim.complete(migrated, number, is_last));
        let databases = migrated.iter().map(|one| one.database.db_name.clone()).collect();
        Completion { number, databases, is_last, statements }
    }

    /// Adds them.
    pub fn add(&self, packet: &mut Packet<Part>) {
        self.statements.iter().for_each(|statement| packet.add(Part::Complete, 1, statement));
    }
}
