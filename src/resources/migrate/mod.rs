//! Changes databases that were built by older templates. The rules are pure: the files ([`files`]), their statements
//! ([`statement`]), the waves of a rollout ([`rules`]). The control database keeps what was applied anywhere ([`applied`]),
//! the rollouts ([`store`], [`operator`]), and for each database how far it has come ([`ledger`]). Workers carry out attempts
//! ([`attempt`], by [`work`]), which [`thread`] offers to them ([`attempts`]). Scratch databases prove the files before any of
//! that ([`verify`]).

pub mod applied;
pub mod attempt;
mod attempts;
mod file_run;
pub mod files;
pub mod ledger;
mod opening;
pub mod operator;
pub mod plan;
mod position;
pub mod progress;
pub mod rules;
pub mod statement;
mod stop;
pub mod store;
pub mod thread;
pub mod verify;
pub mod work;
