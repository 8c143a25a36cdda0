//! Changes databases that were built by older templates. The rules are pure: the files ([`files`]), their statements
//! ([`statement`]), the waves of a rollout ([`rules`]). The control database keeps what was applied anywhere ([`applied`]),
//! the rollouts ([`store`], [`operator`]), and for each database how far it has come ([`ledger`]). Workers migrate databases
//! ([`lane`], `attempt`, by [`work`]), which [`thread`] offers to them (`attempts`). Scratch databases prove the files before
//! any of that ([`verify`]).

pub mod applied;
mod attempt;
mod attempts;
mod completion;
mod file_run;
pub mod files;
pub mod lane;
pub mod ledger;
mod look;
mod opening;
pub mod operator;
pub mod plan;
mod position;
pub mod progress;
mod recorder;
pub mod rules;
pub mod statement;
mod stop;
pub mod store;
mod stretch;
pub mod thread;
mod verdict;
pub mod verify;
pub mod work;
