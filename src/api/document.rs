//! The description of the interface. A test compares it with the answers themselves.

/// An OpenAPI document.
pub const DOCUMENT: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests;
