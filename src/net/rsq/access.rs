//! Which token gives which rights to an RSQ/1 session. Never logs a token.

use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};

use super::refusal::Refusal;
use crate::{
    config::{self, Secret},
    wire::{Code, Pattern},
};

/// What a frame needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// To receive events.
    Subscribe,
    /// To send ephemeral events.
    Publish,
    /// To wake the daemon.
    Ring,
}

/// The rights of one token of `broker.access`, shared by its sessions.
#[derive(Debug, PartialEq, Eq)]
pub struct Rights(config::Access);

/// What a token gives; None: everything.
pub type Grant = Option<Arc<Rights>>;

/// The tokens that HELLO may carry. Without any, every HELLO is accepted.
#[derive(Clone, Default)]
pub struct Tokens {
    everything: Option<Secret>,
    limited: Vec<Arc<Rights>>,
}

impl Tokens {
    /// Those of the settings.
    pub fn new(config: &config::Broker) -> Tokens {
        Tokens {
            everything: config.token.clone().filter(|token| !token.0.is_empty()),
            limited: config.access.iter().map(|entry| Arc::new(Rights(entry.clone()))).collect(),
        }
    }

    /// What this token gives. Takes the same time whichever of the tokens it is, and whether it is one, so that a peer
    /// cannot measure how much of its guess is right.
    ///
    /// # Errors
    /// It is none of them.
    pub fn grant(&self, offered: &str) -> Result<Grant, Refusal> {
        let is = |expected: &Secret| expected.0.as_bytes().ct_eq(offered.as_bytes());
        let mut everything = Choice::from(u8::from(self.everything.is_none() && self.limited.is_empty()));
        if let Some(token) = &self.everything {
            everything |= is(token);
        }
        let mut grant = None;
        for rights in &self.limited {
            if is(&rights.0.token).into() {
                grant = Some(rights.clone());
            }
        }
        match (bool::from(everything), grant) {
            (true, _) => Ok(None),
            (false, Some(rights)) => Ok(Some(rights)),
            (false, None) => Err(Refusal::new(Code::Token, "wrong token")),
        }
    }
}

impl Rights {
    /// Checks that this act is among them.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, act: Act) -> Result<(), Refusal> {
        let (may, verb) = match act {
            Act::Subscribe => (self.0.may.subscribe, "subscribe"),
            Act::Publish => (self.0.may.publish, "publish"),
            Act::Ring => (self.0.may.ring, "ring"),
        };
        match may {
            true => Ok(()),
            false => Err(Refusal::new(Code::Role, format!("the token of {:?} does not permit to {verb}", self.0.name))),
        }
    }

    /// Checks that every state that a pattern matches is among them.
    ///
    /// # Errors
    /// Some state is not.
    pub fn check_states(&self, asked: &Pattern<'_>) -> Result<(), Refusal> {
        let Some(states) = &self.0.states else { return Ok(()) };
        let covers = |text: &String| Pattern::new(text).is_ok_and(|allowed| allowed.covers(*asked));
        match states.iter().any(covers) {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::State,
                format!(
                    "the token of {:?} does not permit the states {asked}, only {}",
                    self.0.name,
                    states.join(", ")
                ),
            )),
        }
    }
}
