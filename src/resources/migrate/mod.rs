//! Changes databases that were built by older templates: the files ([`files`]), their statements ([`statement`]), and what
//! was applied anywhere ([`applied`]).

pub mod applied;
pub mod files;
pub mod statement;
