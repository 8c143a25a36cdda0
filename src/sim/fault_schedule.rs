//! Which faults a run injects, and how often. Each run draws its own mixture from its seed.

use crate::db::{
    Error,
    codes::{
        ER_CHECKREAD, ER_ERROR_DURING_COMMIT, ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT,
        ER_TRANSACTION_ROLLBACK_DURING_COMMIT, ER_TRUNCATED_WRONG_VALUE_FOR_FIELD,
    },
};

/// How long faults are injected, in µs of virtual time.
pub const FAULTY_US: u64 = 20_000_000;

/// The probability of each fault at each statement or wakeup, from 0.0 to 1.0. The default injects none.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultSchedule {
    /// The server reports a lost race, after it has rolled back the statement or the transaction.
    pub race: f64,
    /// The connection breaks before the statement takes effect.
    pub lost: f64,
    /// The connection breaks after the statement has taken effect, so that its answer is lost.
    pub lost_reply: f64,
    /// The connection breaks during a COMMIT, which takes effect seconds later.
    pub late_commit: f64,
    /// On a cluster: a COMMIT is answered with the error of a lost race and takes effect seconds later. The node was cut
    /// off while it waited for the others, which have carried it out.
    pub phantom_commit: f64,
    /// A statement takes up to 20 s.
    pub slow: f64,
    /// The server refuses to store an outcome.
    pub refused: f64,
    /// An application leaves its transaction open for seconds after a statement. While one is open, the floor of the
    /// outbox stays where it is.
    pub open_writers: f64,
    /// A wakeup is lost.
    pub lost_wakeup: f64,
    /// A wakeup arrives without a reason.
    pub false_wakeup: f64,
    /// The daemon is killed before or after a statement.
    pub killed: f64,
    /// The server accepts no connections.
    pub is_down: bool,
}

impl FaultSchedule {
    /// A mixture for one run: each fault is absent in half of the runs.
    pub fn draw(rng: &mut fastrand::Rng, nodes: usize) -> FaultSchedule {
        let mut up_to = |most: f64| if rng.bool() { 0.0 } else { rng.f64() * most };
        let mut faults = FaultSchedule {
            race: up_to(0.05),
            lost: up_to(0.02),
            lost_reply: up_to(0.02),
            late_commit: up_to(0.02),
            slow: up_to(0.01),
            refused: up_to(0.02),
            open_writers: up_to(0.5),
            lost_wakeup: up_to(0.5),
            false_wakeup: up_to(0.2),
            killed: up_to(0.002),
            phantom_commit: up_to(0.05),
            is_down: false,
        };
        if nodes == 1 {
            faults.phantom_commit = 0.0;
        }
        faults
    }
}

/// The error numbers of a lost race. They roll the transaction back, except 1205, which undoes its statement only.
pub const RACES: [u16; 3] = [ER_LOCK_DEADLOCK, ER_CHECKREAD, ER_LOCK_WAIT_TIMEOUT];
/// The error numbers of a race lost at COMMIT.
pub const RACES_AT_COMMIT: [u16; 3] = [ER_LOCK_DEADLOCK, ER_TRANSACTION_ROLLBACK_DURING_COMMIT, ER_ERROR_DURING_COMMIT];
/// The error number of a value that the server refuses to store.
pub const REFUSED: u16 = ER_TRUNCATED_WRONG_VALUE_FOR_FIELD;

pub fn server_error(code: u16) -> Error {
    Error::Server { code, state: "HY000".into(), message: "simulated".into() }
}

pub fn lost() -> Error {
    Error::Unavailable("simulated".into())
}
