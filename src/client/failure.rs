//! How a program ends after a client error: the exit code, and advice on what to do next.

use super::Error;
use crate::{
    base::failure::{Exit, Failure},
    base::tls::Failed,
    wire::Code,
};

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (exit, next) = match &error {
            // Its words say what to do.
            Error::Unreachable { cause, .. } if Failed::is_in(cause) => (Exit::Unreachable, ""),
            Error::Unreachable { .. } => {
                (Exit::Unreachable, "; is it running, and are --host, --port or --socket right?")
            }
            Error::Refused { .. } if error.is_refusal(Code::Token) => {
                (Exit::Unreachable, "; give its token by --token-file, RESQ_TOKEN or broker.token in a settings file")
            }
            Error::Refused { .. } if error.is_refusal(Code::State) => (Exit::Usage, ""),
            Error::Refused { .. } if error.is_refusal(Code::TakenOver) => {
                (Exit::Failed, "; two clients cannot share a consumer: give each its own name")
            }
            Error::Refused { .. } if error.is_final() => (Exit::Failed, ""),
            Error::Refused { .. } => (Exit::Unreachable, "; try again later"),
            Error::Invalid(_) => (Exit::Usage, ""),
            Error::TimedOut { .. } => (Exit::TimedOut, "; see its log"),
        };
        Failure::new(exit, format!("{error}{next}"))
    }
}
