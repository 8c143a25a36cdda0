//! The cookie that a browser gets for a token: which right it stands for, until when, and a proof that only a daemon with
//! this token can make. So nothing is kept, a restart ends no login, and a new token ends all of them. Pure.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The cookie's name.
pub const COOKIE: &str = "resq_login";

/// How long a login lasts, in seconds.
pub const LASTS_S: u64 = 12 * 3_600;

/// What a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To read.
    Read,
    /// To read and to act.
    Act,
}

impl Right {
    /// `read` or `act`.
    pub fn as_str(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Act => "act",
        }
    }
}

/// The cookie's value for the token that gives this right, at this time in seconds since 1970.
pub fn cookie(token: &str, right: Right, now_s: u64) -> String {
    let claim = format!("{}.{}", right.as_str(), now_s + LASTS_S);
    format!("{claim}.{}", proof(token, &claim))
}

/// Whether this cookie was made from the token that gives this right, and has not expired.
pub fn is_valid(cookie: &str, token: &str, right: Right, now_s: u64) -> bool {
    let Some((claim, offered)) = cookie.rsplit_once('.') else { return false };
    let until = claim.strip_prefix(right.as_str()).and_then(|rest| rest.strip_prefix('.')?.parse().ok());
    until.is_some_and(|until: u64| now_s < until) && proof(token, claim).as_bytes().ct_eq(offered.as_bytes()).into()
}

/// HMAC-SHA-256 (RFC 2104), keyed by the token's hash, in hexadecimal.
fn proof(token: &str, claim: &str) -> String {
    const BLOCK: usize = 64;
    let mut key = [0; BLOCK];
    key[..32].copy_from_slice(&Sha256::digest(token));
    let padded = |pad: u8| key.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update("resq login ").chain_update(claim).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_is_valid_for_its_token_and_right_until_it_expires() {
        let now = 1_800_000_000;
        let cookie = cookie("s3cret", Right::Read, now);
        assert!(is_valid(&cookie, "s3cret", Right::Read, now + LASTS_S - 1));
        assert!(!is_valid(&cookie, "s3cret", Right::Read, now + LASTS_S), "expired");
        assert!(!is_valid(&cookie, "other", Right::Read, now));
        assert!(!is_valid(&cookie, "s3cret", Right::Act, now));
        assert!(!cookie.contains("s3cret"));
        let forged = [
            cookie.replacen("read", "act", 1),
            cookie.replacen("18", "19", 1),
            cookie.to_uppercase(),
            cookie[..cookie.len() - 1].into(),
            format!("{cookie}0"),
            "read.99999999999.".into(),
            "..".into(),
            String::new(),
        ];
        for cookie in forged {
            assert!(!is_valid(&cookie, "s3cret", Right::Read, now), "{cookie}");
            assert!(!is_valid(&cookie, "s3cret", Right::Act, now), "{cookie}");
        }
    }
}
