//! What goes wrong, and how often: everything is drawn from the run's seed, and nothing once the run calms down.

use super::world::World;
use crate::db::{
    Error,
    codes::{
        ER_CHECKREAD, ER_ERROR_DURING_COMMIT, ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT,
        ER_TRANSACTION_ROLLBACK_DURING_COMMIT, ER_TRUNCATED_WRONG_VALUE_FOR_FIELD,
    },
};

/// How likely each fault is, at each statement or wakeup.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultSchedule {
    /// The server answers with an error that means to do the same again, and has undone what it must.
    pub race: f64,
    /// The connection breaks before the statement takes effect.
    pub lost: f64,
    /// It breaks after that, so that the answer is lost.
    pub lost_reply: f64,
    /// A COMMIT whose connection has broken takes effect later than anybody thinks.
    pub late_commit: f64,
    /// A statement takes very long.
    pub slow: f64,
    /// The server refuses an outcome for good.
    pub refused: f64,
    /// A wakeup is not heard.
    pub lost_wakeup: f64,
    /// A wakeup is heard that nobody rang.
    pub false_wakeup: f64,
    /// The daemon is killed at a statement, before it or after it.
    pub killed: f64,
    /// Nobody gets a connection.
    pub is_down: bool,
}

impl FaultSchedule {
    /// A run's own mixture: some have none of one kind and many of another.
    pub fn draw(rng: &mut fastrand::Rng) -> FaultSchedule {
        let mut one = |most: f64| if rng.bool() { 0.0 } else { rng.f64() * most };
        FaultSchedule {
            race: one(0.05),
            lost: one(0.02),
            lost_reply: one(0.02),
            late_commit: one(0.02),
            slow: one(0.01),
            refused: one(0.02),
            lost_wakeup: one(0.5),
            false_wakeup: one(0.2),
            killed: one(0.002),
            is_down: false,
        }
    }
}

/// The codes of a lost race that roll the transaction back; 1205 undoes its statement alone.
pub const RACES: [u16; 3] = [ER_LOCK_DEADLOCK, ER_CHECKREAD, ER_LOCK_WAIT_TIMEOUT];
/// Those that come at a COMMIT only, or too.
pub const RACES_AT_COMMIT: [u16; 3] = [ER_LOCK_DEADLOCK, ER_TRANSACTION_ROLLBACK_DURING_COMMIT, ER_ERROR_DURING_COMMIT];
/// A value that the server does not take.
pub const REFUSED: u16 = ER_TRUNCATED_WRONG_VALUE_FOR_FIELD;

pub fn server_error(code: u16) -> Error {
    Error::Server { code, state: "HY000".into(), message: "simulated".into() }
}

pub fn lost() -> Error {
    Error::Unavailable("simulated".into())
}

/// How long a statement takes, each way, in µs.
pub fn latency_us(world: &mut World) -> u64 {
    if world.chance(world.faults.slow) { world.rng.u64(0..20_000_000) } else { world.rng.u64(20..800) }
}
