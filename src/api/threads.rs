//! The threads that answer what HTTP asks of the database: one reads, one acts and one drops databases, so that an action
//! holds up no reader, and a drop, which takes as long as the server needs, no other action. They end with the broker.

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
    for (name, requests) in [("api-read", &end.reads), ("api-act", &end.acts), ("api-drop", &end.drops)] {
        let (api, requests, end) = (Api::new(control, resources), requests.clone(), end.clone());
        Thread::spawn(name, alarm, move || serve(&api, &requests, &end)).map_err(cannot_start)?;
    }
    Ok(())
}

fn serve(api: &Api, requests: &Receiver<ApiRequest>, end: &ApiEnd) {
    for ApiRequest { ticket, acts, is_other, path, parameters, body, who } in requests {
        let answer = api.answer(&Request { acts, is_other, path, parameters, body, who });
        end.answer(ApiAnswer { ticket, status: answer.status, body: answer.body, allow: answer.allow });
    }
}
