//! The classes of errors of the database.

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The transaction was rolled back and the server is fine: repeat it, after a short random pause.
    Retry,
    /// This connection or host is unusable for now: open a new connection, on the next host if there is one. Whether
    /// the last statement took effect is unknown.
    ConnectionLost,
    /// Repeating the statement will fail the same way.
    Permanent,
}
