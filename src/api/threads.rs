//! The threads that answer what HTTP asks of the database: one reads and one acts, so that an action that takes long, such as
//! dropping a database, holds up no reader. They end with the broker.

use crossbeam_channel::Receiver;

use super::{answer::Api, call::Request};
use crate::{
    base::{
        failure::Failure,
        threads::{Alarm, Thread, cannot_start},
    },
    db::Db,
    net::{ApiAnswer, ApiEnd, ApiRequest},
};

/// Starts the threads, for the queue of `control` and databases on `resources`.
///
/// # Errors
/// The system cannot start another thread.
pub fn start(control: &Db, resources: &Db, end: &ApiEnd, alarm: &Alarm) -> Result<(), Failure> {
    for (name, requests) in [("api-read", &end.reads), ("api-act", &end.acts)] {
        let (api, requests, end) = (Api::new(control, resources), requests.clone(), end.clone());
        Thread::spawn(name, alarm, move || serve(&api, &requests, &end)).map_err(cannot_start)?;
    }
    Ok(())
}

fn serve(api: &Api, requests: &Receiver<ApiRequest>, end: &ApiEnd) {
    for ApiRequest { ticket, acts, path, parameters, body, who } in requests {
        let answer = api.answer(&Request { acts, path, parameters, body, who });
        end.answer(ApiAnswer { ticket, status: answer.status, body: answer.body });
    }
}
