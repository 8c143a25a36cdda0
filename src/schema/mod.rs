//! resq's own tables, procedures and triggers in the global database: [`install`] creates and upgrades them, [`doctor`]
//! checks them and everything else that resqd needs.

pub mod doctor;
pub mod install;
