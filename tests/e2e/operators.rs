//! What operators do to many jobs, and what is kept of it: the audit, actions on all that match a filter, and searches.

mod answers;
mod audit;
mod batches;
mod searches;
mod top;
