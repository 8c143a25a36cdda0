//! The queue as applications and operators see it: its jobs, their attempts, how many there are. Every call is one short
//! statement; what changes the queue is in [`super::actions`], and claiming and finishing jobs belong to the daemon.

use mysql::Value;
use serde_json::{Value as Json, json};

use super::{audit::Actor, job::Status, sql_store};
use crate::{
    base::exact::integer,
    config::Config,
    db::{Db, Error, Link, OpenError, ReadRows, limited},
};

/// The queue of one global database.
///
/// Every call repeats a statement that lost a race for locks. What remains is an error of the database; after one that
/// means a lost connection, the next call connects again.
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
    pub(crate) link: Link,
    pub(super) actor: Option<Actor>,
}

/// A job to enqueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// The column `res_name`, of at most 255 characters.
    pub name: String,
    /// The column `res_type`, which tells the handler what to do; `default` unless set.
    pub res_type: String,
    /// The column `res_url`: free for the application's use.
    pub url: Option<String>,
    /// Jobs with smaller numbers are claimed first.
    pub priority: i16,
    /// The job is not claimed before this many seconds from now, by the server's clock; 0: at once.
    pub delay_s: u32,
}

impl Default for NewJob {
    fn default() -> Self {
        NewJob { name: String::new(), res_type: "default".into(), url: None, priority: 0, delay_s: 0 }
    }
}

/// One row of `res_queue`, for display. Times are UTC, as the server prints them.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The column `res_id`.
    pub id: u64,
    /// The column `res_name`.
    pub name: String,
    /// The column `res_type`.
    pub res_type: String,
    /// None: a row that is older than resq and whose status is NULL; it is never claimed.
    pub status: Option<Status>,
    /// The column `res_url`.
    pub url: Option<String>,
    /// Jobs with smaller numbers are claimed first.
    pub priority: i64,
    /// When a delayed job is due; None: it is ready, or not `new`.
    pub run_at: Option<String>,
    /// Attempts that counted so far, including one that is running.
    pub attempts: u32,
    /// The row's own limit of attempts; None: the setting `queue.max_attempts` applies.
    pub max_attempts: Option<u32>,
    /// The message of the last attempt that failed or was interrupted, or what the job waits for; None once it is done.
    pub last_error: Option<String>,
    /// What the handler returned: the column `db_name`.
    pub result: Option<String>,
    /// The daemon that runs the job.
    pub owner: Option<String>,
    /// When the row was inserted.
    pub created_at: Option<String>,
    /// When the row last changed.
    pub updated_at: Option<String>,
}

impl Row {
    /// An object with the column names as keys.
    pub fn to_json(&self) -> Json {
        json!({
            "res_id": integer(self.id), "res_name": self.name, "res_type": self.res_type, "status": self.status.map(Status::as_str),
            "res_url": self.url, "priority": self.priority, "run_at": self.run_at, "attempts": self.attempts,
            "max_attempts": self.max_attempts, "last_error": self.last_error, "db_name": self.result,
            "owner": self.owner, "created_at": self.created_at, "updated_at": self.updated_at,
        })
    }
}

/// One failed attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1; an interrupted attempt and the one after it have the same.
    pub attempt: u32,
    /// When it was recorded: UTC, as the server prints it.
    pub at: String,
    /// Why it failed.
    pub message: String,
}

/// A job in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// The column `res_id`.
    pub id: u64,
    /// The column `res_name`.
    pub name: String,
    /// The daemon that claimed it.
    pub owner: Option<String>,
    /// How long that daemon's lease is still valid, in seconds. Negative: expired for that long. None: it has no lease.
    pub lease_s: Option<f64>,
}

pub(super) const COLUMNS: &str = "res_id, res_name, res_type, status, res_url, priority, run_at, attempts, max_attempts, \
                       last_error, db_name, owner, created_at, updated_at";

impl Queue {
    /// Connects.
    ///
    /// # Errors
    /// If no server can be reached or logged in to. If `resqctl init` was not run, the first call fails instead.
    pub fn open(config: &Config) -> Result<Queue, OpenError> {
        Ok(Queue::on(&Db::open(&config.database, 1)?))
    }

    /// Uses an open pool. Connects when first used.
    pub fn on(db: &Db) -> Queue {
        Queue { link: Link::new(db), actor: None }
    }

    /// The row with this `res_id`, if there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub fn get(&mut self, id: u64) -> Result<Option<Row>, Error> {
        Ok(self.rows(&format!("WHERE res_id = {id}"))?.pop())
    }

    fn rows(&mut self, tail: &str) -> Result<Vec<Row>, Error> {
        let select = format!("SELECT {COLUMNS} FROM res_queue {tail}");
        let rows: Vec<mysql::Row> = self.link.run(|conn| limited::read(conn, &select))?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// The failed attempts of one job, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub fn attempts(&mut self, id: u64) -> Result<Vec<Attempt>, Error> {
        let select =
            format!("SELECT attempt, CAST(at AS CHAR), message FROM res_error WHERE res_id = {id} ORDER BY id");
        let rows: Vec<(_, _, _)> = self.link.run(|conn| limited::read(conn, &select))?;
        Ok(rows.into_iter().map(|(attempt, at, message)| Attempt { attempt, at, message }).collect())
    }

    /// How many rows are (new, in progress). Fast however many are finished.
    ///
    /// # Errors
    /// Those of the database.
    pub fn pending(&mut self) -> Result<(u64, u64), Error> {
        let rows: Vec<(String, u64)> = self.link.run(|conn| {
            conn.read_rows(
                "SELECT status, COUNT(*) FROM res_queue WHERE status IN ('new', 'in_progress') GROUP BY status",
            )
        })?;
        let of = |status: Status| rows.iter().find(|(name, _)| name == status.as_str()).map_or(0, |(_, count)| *count);
        Ok((of(Status::New), of(Status::InProgress)))
    }

    /// The jobs in progress by `res_id`, at most 1,000.
    ///
    /// # Errors
    /// Those of the database.
    pub fn running(&mut self) -> Result<Vec<Running>, Error> {
        self.link.run(|conn| {
            // A row of an older table may have an id below 1, no name, or one that is not UTF-8.
            type Row = (u64, Vec<u8>, Option<String>, Option<f64>);
            let rows: Vec<Row> = limited::read(
                conn,
                "SELECT q.res_id, CAST(COALESCE(q.res_name, '') AS BINARY), q.owner, \
                 TIMESTAMPDIFF(MICROSECOND, NOW(6), d.lease_until) / 1000000 \
                 FROM res_queue q LEFT JOIN res_daemon d ON d.owner = q.owner \
                 WHERE q.status = 'in_progress' AND q.res_id + 0 > 0 ORDER BY q.res_id LIMIT 1000",
            )?;
            let running = |(id, name, owner, lease_s): (_, Vec<u8>, _, _)| {
                let name = String::from_utf8_lossy(&name).into_owned();
                Running { id, name, owner, lease_s }
            };
            Ok(rows.into_iter().map(running).collect())
        })
    }

    /// The `res_id` of every job in `error`, in ascending order.
    ///
    /// # Errors
    /// Those of the database.
    pub fn failed(&mut self) -> Result<Vec<u64>, Error> {
        let failed = "SELECT res_id FROM res_queue WHERE status = 'error' AND res_id + 0 > 0 ORDER BY res_id";
        self.link.run(|conn| conn.read_rows(failed))
    }

    /// Whether the queue is paused.
    ///
    /// # Errors
    /// Those of the database.
    pub fn is_paused(&mut self) -> Result<bool, Error> {
        self.link.run(sql_store::is_paused)
    }
}

pub(super) fn row(row: mysql::Row) -> Row {
    let mut values = row.unwrap().into_iter().map(|value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(false).trim_matches('\'').to_string()),
    });
    let mut next = || values.next().flatten();
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok());
    Row {
        id: next().and_then(|text| text.parse().ok()).unwrap_or_default(),
        name: next().unwrap_or_default(),
        res_type: next().unwrap_or_default(),
        status: next().as_deref().and_then(Status::parse),
        url: next(),
        priority: number(next()).unwrap_or_default(),
        run_at: next(),
        attempts: number(next()).unwrap_or_default() as u32,
        max_attempts: number(next()).map(|n| n as u32),
        last_error: next(),
        result: next(),
        owner: next(),
        created_at: next(),
        updated_at: next(),
    }
}
