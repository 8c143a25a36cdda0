//! The checks of resq's own tables, procedures and triggers, each kind on a line of its own.

use super::verdict::{AGAIN, Verdict, failed, good, warning};
use crate::{
    db::Error,
    schema::problem::{Part, Problem, Severity},
};

/// The verdict on one kind of object.
pub fn check(found: &Result<Vec<Problem>, Error>, part: Part, all_is_well: String) -> Verdict {
    let problems: Vec<&Problem> = match found {
        Ok(problems) => problems.iter().filter(|problem| problem.part == part).collect(),
        Err(error) => return warning(format!("cannot inspect them: {error}"), AGAIN),
    };
    let Some(worst) = problems.first() else { return good(all_is_well) };
    let what = problems.iter().map(|problem| problem.what.as_str()).collect::<Vec<_>>().join("; ");
    let mut remedies: Vec<&str> = problems.iter().map(|problem| problem.remedy()).collect();
    remedies.dedup();
    match worst.severity {
        Severity::Minor => warning(what, remedies.join("; ")),
        Severity::Major | Severity::Fatal => failed(what, remedies.join("; ")),
    }
}
