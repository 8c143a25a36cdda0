//! Changes databases that were built by older templates. The rules are pure: the files ([`files`]), their statements
//! ([`statement`]), the waves of a rollout ([`rules`]). The control database keeps what was applied anywhere ([`applied`]),
//! the rollouts ([`store`], [`operator`]), and for each database how far it has come ([`ledger`]). Workers carry out attempts
//! ([`attempt`]), which [`thread`] offers to them. Scratch databases prove the files before any of that ([`verify`]).

pub mod applied;
pub mod attempt;
mod elsewhere;
pub mod files;
pub mod ledger;
pub mod operator;
pub mod plan;
pub mod progress;
pub mod rules;
pub mod statement;
pub mod store;
pub mod thread;
pub mod verify;
