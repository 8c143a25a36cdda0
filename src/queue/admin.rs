//! What applications and operators do with the queue: enqueue, look, wait, retry, cancel, pause. Every call is one
//! short statement or transaction; claiming and finishing belong to the daemon.

use mysql::{Conn, Params, Value, prelude::Queryable};
use serde_json::{Value as Json, json};

use super::job::Status;
use crate::{
    config::Config,
    db::{Db, Error, Link, OpenError, id_list},
};

/// The queue of one global database, as an application sees it.
///
/// ```no_run
/// use resq::{config::Config, queue::{NewJob, Queue, Status}};
///
/// let mut queue = Queue::open(&Config::default())?;
/// let id = queue.enqueue(&NewJob { name: "shop-17".into(), ..NewJob::default() })?;
/// let row = queue.get(id)?.expect("just enqueued");
/// assert_eq!(row.status, Some(Status::New));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue {
    link: Link,
}

/// A resource to enqueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    pub name: String,
    /// Picks the templates; `default` unless set.
    pub res_type: String,
    pub url: Option<String>,
    /// Smaller first.
    pub priority: i16,
    /// Not before so many seconds from now, by the server's clock; 0: at once.
    pub delay_s: u32,
}

impl Default for NewJob {
    fn default() -> Self {
        NewJob { name: String::new(), res_type: "default".into(), url: None, priority: 0, delay_s: 0 }
    }
}

/// One row, for looking at. Times are UTC, as the server prints them.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: u64,
    pub name: String,
    pub res_type: String,
    /// None: a row from before resq whose status is NULL; it is never claimed.
    pub status: Option<Status>,
    pub url: Option<String>,
    pub priority: i64,
    pub run_at: Option<String>,
    pub attempts: u32,
    pub max_attempts: Option<u32>,
    pub last_error: Option<String>,
    pub db_name: Option<String>,
    pub owner: Option<String>,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
}

impl Row {
    pub fn to_json(&self) -> Json {
        json!({
            "res_id": self.id, "res_name": self.name, "res_type": self.res_type, "status": self.status.map(Status::as_str),
            "res_url": self.url, "priority": self.priority, "run_at": self.run_at, "attempts": self.attempts,
            "max_attempts": self.max_attempts, "last_error": self.last_error, "db_name": self.db_name,
            "owner": self.owner, "created_at": self.created_at, "updated_at": self.updated_at,
        })
    }
}

/// One failed attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub attempt: u32,
    pub at: String,
    pub message: String,
}

/// How many rows there are in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub new: u64,
    /// Of the new ones, those that wait for their time.
    pub delayed: u64,
    pub in_progress: u64,
    pub done: u64,
    pub error: u64,
}

/// A job that runs now, and how long its daemon's lease still holds, in seconds; below 0: it is lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub id: u64,
    pub name: String,
    pub owner: Option<String>,
    pub lease_s: Option<f64>,
}

const COLUMNS: &str = "res_id, res_name, res_type, status, res_url, priority, run_at, attempts, max_attempts, \
                       last_error, db_name, owner, created_at, updated_at";

impl Queue {
    /// Connects; fails where the server can't be reached. Where `resqctl init` was not run, the first call says so.
    pub fn open(config: &Config) -> Result<Queue, OpenError> {
        Ok(Queue::on(&Db::open(&config.database, 1)?))
    }

    /// On a pool that is there already.
    pub fn on(db: &Db) -> Queue {
        Queue { link: Link::new(db) }
    }

    /// Inserts one row in a transaction of its own; returns its `res_id`.
    pub fn enqueue(&mut self, job: &NewJob) -> Result<u64, Error> {
        self.link.run(|conn| {
            conn.exec_drop(
                "INSERT INTO res_queue (res_name, res_type, res_url, priority, run_at) \
                 VALUES (?, ?, ?, ?, IF(? = 0, NULL, NOW(6) + INTERVAL ? SECOND))",
                (&job.name, &job.res_type, &job.url, job.priority, job.delay_s, job.delay_s),
            )?;
            Ok(conn.last_insert_id())
        })
    }

    /// A short text that no other call ever gets: the server's count of such calls.
    pub fn unique(&mut self) -> Result<String, Error> {
        self.link.run(|conn| {
            conn.query_drop(
                "INSERT INTO res_meta (name, value) VALUES ('seedings', LAST_INSERT_ID(1)) \
                 ON DUPLICATE KEY UPDATE value = LAST_INSERT_ID(value + 1)",
            )?;
            Ok(conn.query_first::<u64, _>("SELECT LAST_INSERT_ID()")?.unwrap_or_default().to_string())
        })
    }

    /// Inserts one batch of seeded rows, `prefix`, a part that no other seeding has, and its number.
    pub fn seed(&mut self, prefix: &str, kind: &str, unique: &str, numbers: std::ops::Range<u64>) -> Result<(), Error> {
        let places = vec!["(?, ?, TRUE)"; numbers.clone().count()].join(", ");
        let sql = format!("INSERT INTO res_queue (res_name, res_type, seeded) VALUES {places}");
        let values: Vec<Value> =
            numbers.flat_map(|n| [Value::from(format!("{prefix}_{unique}_{n}")), Value::from(kind)]).collect();
        self.link.run(|conn| Ok(conn.exec_drop(&sql, Params::Positional(values.clone()))?))
    }

    pub fn get(&mut self, id: u64) -> Result<Option<Row>, Error> {
        Ok(self.rows(&format!("WHERE res_id = {id}"))?.pop())
    }

    /// The newest `limit` rows, of one status or of all, newest first.
    pub fn list(&mut self, status: Option<Status>, limit: u32) -> Result<Vec<Row>, Error> {
        let status = status.map_or_else(String::new, |status| format!("WHERE status = '{}'", status.as_str()));
        self.rows(&format!("{status} ORDER BY res_id DESC LIMIT {limit}"))
    }

    fn rows(&mut self, tail: &str) -> Result<Vec<Row>, Error> {
        self.link.run(|conn| Ok(conn.query_map(format!("SELECT {COLUMNS} FROM res_queue {tail}"), row)?))
    }

    /// The failed attempts of one job, oldest first.
    pub fn attempts(&mut self, id: u64) -> Result<Vec<Attempt>, Error> {
        self.link.run(|conn| {
            Ok(conn.exec_map(
                "SELECT attempt, CAST(at AS CHAR), message FROM res_error WHERE res_id = ? ORDER BY id",
                (id,),
                |(attempt, at, message)| Attempt { attempt, at, message },
            )?)
        })
    }

    pub fn depth(&mut self) -> Result<Depth, Error> {
        let rows: Vec<(Option<String>, bool, u64)> = self.link.run(|conn| {
            Ok(conn.query("SELECT status, COALESCE(run_at > NOW(6), FALSE) AS waits, COUNT(*) FROM res_queue GROUP BY status, waits")?)
        })?;
        let mut depth = Depth::default();
        for (status, delayed, count) in rows {
            match status.as_deref().and_then(Status::parse) {
                Some(Status::New) => {
                    depth.new += count;
                    depth.delayed += if delayed { count } else { 0 };
                }
                Some(Status::InProgress) => depth.in_progress += count,
                Some(Status::Done) => depth.done += count,
                Some(Status::Error) => depth.error += count,
                None => {}
            }
        }
        Ok(depth)
    }

    /// How many rows are (new, in progress): cheap however many are finished.
    pub fn pending(&mut self) -> Result<(u64, u64), Error> {
        let rows: Vec<(String, u64)> = self.link.run(|conn| {
            Ok(conn.query(
                "SELECT status, COUNT(*) FROM res_queue WHERE status IN ('new', 'in_progress') GROUP BY status",
            )?)
        })?;
        let of = |status: Status| rows.iter().find(|(name, _)| name == status.as_str()).map_or(0, |(_, count)| *count);
        Ok((of(Status::New), of(Status::InProgress)))
    }

    /// How long the oldest job that could run has been waiting, in seconds.
    pub fn oldest_waiting_s(&mut self) -> Result<Option<u64>, Error> {
        let age: Option<Option<i64>> = self.link.run(|conn| {
            Ok(conn.query_first(
                "SELECT TIMESTAMPDIFF(SECOND, MIN(created_at), NOW()) FROM res_queue WHERE status = 'new' AND (run_at IS NULL OR run_at <= NOW(6))",
            )?)
        })?;
        Ok(age.flatten().map(|age| age.max(0).unsigned_abs()))
    }

    pub fn running(&mut self) -> Result<Vec<Running>, Error> {
        self.link.run(|conn| {
            Ok(conn.query_map(
                "SELECT q.res_id, q.res_name, q.owner, TIMESTAMPDIFF(MICROSECOND, NOW(6), d.lease_until) / 1000000 \
                 FROM res_queue q LEFT JOIN res_daemon d ON d.owner = q.owner WHERE q.status = 'in_progress' ORDER BY q.res_id LIMIT 1000",
                |(id, name, owner, lease_s)| Running { id, name, owner, lease_s },
            )?)
        })
    }

    /// Puts failed jobs back to `new` with fresh attempts; returns how many those were. Others are left alone.
    pub fn retry(&mut self, ids: &[u64]) -> Result<u64, Error> {
        self.change(ids, "status = 'new', attempts = 0, interruptions = 0, run_at = NULL, last_error = NULL", "error")
    }

    /// Takes waiting jobs out: `new` becomes `error`; returns how many those were.
    pub fn cancel(&mut self, ids: &[u64]) -> Result<u64, Error> {
        self.change(ids, "status = 'error', last_error = 'cancelled'", "new")
    }

    fn change(&mut self, ids: &[u64], set: &str, from: &str) -> Result<u64, Error> {
        let ids = id_list(ids);
        self.link.run(|conn| {
            conn.query_drop(format!(
                "UPDATE res_queue FORCE INDEX (PRIMARY) SET {set} WHERE res_id IN ({ids}) AND status = '{from}'"
            ))?;
            Ok(conn.affected_rows())
        })
    }

    /// Every failed job's `res_id`.
    pub fn failed(&mut self) -> Result<Vec<u64>, Error> {
        self.link.run(|conn| Ok(conn.query("SELECT res_id FROM res_queue WHERE status = 'error' ORDER BY res_id")?))
    }

    /// Stops claiming, for every daemon on this queue, from this commit on.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.link.run(|conn| Ok(conn.query_drop("INSERT IGNORE INTO res_meta (name, value) VALUES ('paused', NOW())")?))
    }

    pub fn resume(&mut self) -> Result<(), Error> {
        self.link.run(|conn| Ok(conn.query_drop("DELETE FROM res_meta WHERE name = 'paused'")?))?;
        // No trigger rings for this; where the function is missing, the daemons poll.
        self.link.run(|conn| {
            let _ = conn.query_drop("DO resq_ring()");
            Ok(())
        })
    }

    pub fn is_paused(&mut self) -> Result<bool, Error> {
        self.link.run(super::sql_store::paused)
    }

    /// Runs a statement of the caller's in the global database.
    pub fn with<T>(&mut self, op: impl FnMut(&mut Conn) -> Result<T, Error>) -> Result<T, Error> {
        self.link.run(op)
    }
}

fn row(row: mysql::Row) -> Row {
    let mut values = row.unwrap().into_iter().map(|value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(false).trim_matches('\'').to_string()),
    });
    let mut next = || values.next().flatten();
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok());
    Row {
        id: number(next()).unwrap_or_default().unsigned_abs(),
        name: next().unwrap_or_default(),
        res_type: next().unwrap_or_default(),
        status: next().as_deref().and_then(Status::parse),
        url: next(),
        priority: number(next()).unwrap_or_default(),
        run_at: next(),
        attempts: number(next()).unwrap_or_default() as u32,
        max_attempts: number(next()).map(|n| n as u32),
        last_error: next(),
        db_name: next(),
        owner: next(),
        created_at: next(),
        updated_at: next(),
    }
}
