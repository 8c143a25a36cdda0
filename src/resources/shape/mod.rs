//! The shape of a database: its tables, columns, indexes, constraints, views, triggers, routines, events and options,
//! without its rows. Reads the shapes of many databases with a few queries ([`read`]), brings what servers write
//! differently into one form, and lists how two shapes differ ([`compare`]). Changes nothing, and knows no registry.

mod compare;
mod constraints;
mod normal;
mod object;
mod pace;
mod programs;
mod read;
mod rows;
mod tables;
mod text;

pub use compare::{Difference, What, compare};
pub use object::{Identity, Key, Kind, Shape};
pub use pace::Pace;
pub use read::Reader;
