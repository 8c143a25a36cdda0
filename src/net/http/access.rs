//! Who may ask for what: the name under which the daemon is addressed, where a request comes from, and the right that its
//! token or cookie gives. Closed unless something opens it. Never logs a token.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Instant,
};

use subtle::ConstantTimeEq;

use super::{
    login::{self, Right},
    penalties::Penalties,
    request::{Head, Method, Rejection},
};
use crate::config::Secret;

/// The rules of access, and the addresses that sent wrong tokens.
#[derive(Default)]
pub struct Access {
    /// Permits to read and to act.
    pub token: Option<Secret>,
    /// Permits to read.
    pub read_token: Option<Secret>,
    /// Names besides `localhost` under which the daemon may be addressed, in lower case.
    pub hosts: Vec<String>,
    /// Wrong tokens so far.
    pub penalties: Penalties,
}

/// Where and when a request arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The client's address; None: a local socket.
    pub address: Option<IpAddr>,
    /// When, by the steady clock.
    pub now: Instant,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// Over an encrypted connection.
    pub is_encrypted: bool,
}

impl Access {
    /// Checks what holds for every request, whatever it asks for.
    ///
    /// # Errors
    /// 421: it is addressed to another host. 403: it acts, and a page of another site sent it.
    pub fn check_origin(&self, head: &Head) -> Result<(), Rejection> {
        let host = head.field("host").unwrap_or_default();
        if head.field("host").is_some() && !self.is_own(host) {
            return Err(Rejection::new(
                421,
                "this daemon has no such name: address it by IP address or as localhost, or add the name to http.hosts",
            ));
        }
        if matches!(head.method, Method::Get | Method::Head) {
            return Ok(());
        }
        let is_same = match (head.field("sec-fetch-site"), head.field("origin")) {
            (Some(site), _) => site == "same-origin" || site == "none",
            (None, Some(origin)) => {
                origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
            }
            // Not a browser.
            (None, None) => true,
        };
        if is_same { Ok(()) } else { Err(Rejection::new(403, "a page of another site may not act here")) }
    }

    /// A name that an attacker's DNS could make point here is foreign; an address is not.
    fn is_own(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => {
                let Some((address, port)) = rest.split_once(']') else { return false };
                return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
            }
            None => match host.split_once(':') {
                Some((name, _)) if !is_port(&host[name.len()..]) => return false,
                Some((name, _)) => name,
                None => host,
            },
        };
        let name = name.to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }

    /// Checks that the request's token or cookie gives this right.
    ///
    /// # Errors
    /// 401: no right at all, 403: not this one, 429: too many wrong tokens from this address.
    pub fn check_right(&mut self, head: &Head, needed: Right, arrival: Arrival) -> Result<(), Rejection> {
        match self.right(head, arrival)? {
            Some(right) if right >= needed => Ok(()),
            Some(_) if self.token.is_none() => Err(Rejection::new(403, "nothing may act here: http.token is not set")),
            Some(_) => Err(Rejection::new(403, "this token may only read")),
            None => Err(Rejection::new(401, "a token is needed: send it as `Authorization: Bearer TOKEN`, or log in")),
        }
    }

    /// The right that a request has.
    ///
    /// # Errors
    /// 401: its token is wrong, 429: too many wrong tokens from this address.
    pub fn right(&mut self, head: &Head, arrival: Arrival) -> Result<Option<Right>, Rejection> {
        if let Some(offered) = head.field("authorization") {
            let (scheme, token) = offered.split_once(' ').unwrap_or((offered, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Rejection::new(401, "the only scheme of authorization is Bearer"));
            }
            return self.compare(token.trim(), arrival).map(Some);
        }
        if let Some(cookie) = head.cookie(login::COOKIE) {
            let given = |token: &Option<Secret>, right| {
                token.as_ref().is_some_and(|token| login::is_valid(cookie, &token.0, right, arrival.unix_s))
            };
            let rights = [(&self.token, Right::Act), (&self.read_token, Right::Read)];
            if let Some((_, right)) = rights.into_iter().find(|(token, right)| given(token, *right)) {
                return Ok(Some(right));
            }
        }
        // Without a token, what reads is open; the daemon then listens on loopback only, or with --insecure.
        Ok((self.token.is_none() && self.read_token.is_none()).then_some(Right::Read))
    }

    /// The right that this token gives.
    ///
    /// # Errors
    /// 401: none, 429: too many wrong tokens from this address.
    pub fn compare(&mut self, offered: &str, arrival: Arrival) -> Result<Right, Rejection> {
        let pause = self.penalties.pause(arrival.address, arrival.now);
        if !pause.is_zero() {
            let seconds = (pause.as_secs() + 1).to_string();
            return Err(Rejection::new(429, "too many wrong tokens from this address").with("Retry-After", seconds));
        }
        let is = |expected: &Option<Secret>| -> bool {
            expected.as_ref().is_some_and(|expected| expected.0.as_bytes().ct_eq(offered.as_bytes()).into())
        };
        let (may_act, may_read) = (is(&self.token), is(&self.read_token));
        if may_act || may_read {
            self.penalties.passed(arrival.address);
            return Ok(if may_act { Right::Act } else { Right::Read });
        }
        let failures = self.penalties.failed(arrival.address, arrival.now);
        // The first ones, then ever fewer: the pauses limit them.
        let from = arrival.address.map_or_else(|| "a local socket".to_string(), |address| address.to_string());
        log::warn!(
            "http: wrong token; refused the request, further ones wait longer and longer from={from} wrong={failures}"
        );
        Err(Rejection::new(401, "wrong token"))
    }

    /// The cookie for a right that a token has just given; None: no token gives it.
    pub fn cookie(&self, right: Right, unix_s: u64) -> Option<String> {
        let token = if right == Right::Act { &self.token } else { &self.read_token };
        token.as_ref().map(|token| login::cookie(&token.0, right, unix_s))
    }
}

/// `:` and a number.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.len() <= 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn head(method: &str, fields: &str) -> Head {
        Head::parse(format!("{method} / HTTP/1.1\r\n{fields}\r\n").as_bytes()).unwrap()
    }

    fn arrival() -> Arrival {
        Arrival {
            address: Some("192.0.2.1".parse().unwrap()),
            now: Instant::now(),
            unix_s: 1_800_000_000,
            is_encrypted: false,
        }
    }

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret(text.into()))
    }

    #[test]
    fn only_own_names_and_addresses_are_answered() {
        let access = Access { hosts: vec!["resq.example".into()], ..Access::default() };
        for (host, is_own) in [
            ("localhost", true),
            ("LocalHost:1301", true),
            ("127.0.0.1:1301", true),
            ("10.1.2.3", true),
            ("[::1]:1301", true),
            ("[::1]", true),
            ("resq.example:80", true),
            ("RESQ.example", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("resq.example.evil.example:1301", false),
            ("127.0.0.1.evil.example", false),
            ("localhost:x", false),
            ("localhost:1301:2", false),
            ("user@localhost", false),
            ("[::1", false),
            ("[evil]", false),
            ("[::1]x", false),
            ("", false),
        ] {
            let checked = access.check_origin(&head("GET", &format!("Host: {host}\r\n")));
            assert_eq!(
                checked.map_err(|rejection| rejection.status),
                if is_own { Ok(()) } else { Err(421) },
                "{host:?}"
            );
        }
        let old = Head::parse(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(access.check_origin(&old), Ok(()), "a probe without a name");
    }

    #[test]
    fn pages_of_other_sites_may_not_act() {
        let access = Access::default();
        for (fields, is_allowed) in [
            ("", true),
            ("Sec-Fetch-Site: same-origin\r\n", true),
            ("Sec-Fetch-Site: none\r\n", true),
            ("Sec-Fetch-Site: same-site\r\n", false),
            ("Sec-Fetch-Site: cross-site\r\n", false),
            ("Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost:1301\r\n", false),
            ("Origin: http://localhost:1301\r\n", true),
            ("Origin: http://localhost\r\n", false),
            ("Origin: http://evil.example\r\n", false),
            ("Origin: null\r\n", false),
        ] {
            let fields = format!("Host: localhost:1301\r\n{fields}");
            let acting = access.check_origin(&head("POST", &fields)).map_err(|rejection| rejection.status);
            assert_eq!(acting, if is_allowed { Ok(()) } else { Err(403) }, "{fields}");
            assert_eq!(access.check_origin(&head("GET", &fields)), Ok(()), "{fields}");
        }
    }

    /// What a request with these fields may do.
    fn may(access: &mut Access, fields: &str) -> [Result<(), u16>; 2] {
        let head = head("GET", &format!("Host: localhost\r\n{fields}"));
        [Right::Read, Right::Act]
            .map(|right| access.check_right(&head, right, arrival()).map_err(|rejection| rejection.status))
    }

    #[test]
    fn tokens_give_rights_and_nothing_else_does() {
        let open = &mut Access::default();
        assert_eq!(may(open, ""), [Ok(()), Err(403)], "without a token everything may be read");
        assert_eq!(may(open, "Authorization: Bearer x\r\n"), [Err(401), Err(401)]);
        let both = || Access { token: secret("act"), read_token: secret("read"), ..Access::default() };
        for (fields, expected) in [
            ("", [Err(401), Err(401)]),
            ("Authorization: Bearer act\r\n", [Ok(()), Ok(())]),
            ("Authorization: bearer  read\r\n", [Ok(()), Err(403)]),
            ("Authorization: Bearer \r\n", [Err(401), Err(401)]),
            ("Authorization: Bearer ac\r\n", [Err(401), Err(401)]),
            ("Authorization: Basic YWN0\r\n", [Err(401), Err(401)]),
            ("Cookie: resq_login=act\r\n", [Err(401), Err(401)]),
        ] {
            assert_eq!(may(&mut both(), fields), expected, "{fields}");
        }
        let reading = &mut Access { read_token: secret("read"), ..Access::default() };
        assert_eq!(may(reading, ""), [Err(401), Err(401)]);
        assert_eq!(may(reading, "Authorization: Bearer read\r\n"), [Ok(()), Err(403)]);
        for (right, expected) in [(Right::Read, [Ok(()), Err(403)]), (Right::Act, [Ok(()), Ok(())])] {
            let cookie = both().cookie(right, arrival().unix_s).unwrap();
            assert_eq!(may(&mut both(), &format!("Cookie: a=b; resq_login={cookie}\r\n")), expected);
        }
        assert_eq!(Access::default().cookie(Right::Read, 0), None);
    }

    #[test]
    fn guessing_is_slowed_down_even_for_the_right_token() {
        let mut access = Access { token: secret("act"), ..Access::default() };
        let here = arrival();
        let status = |result: Result<Right, Rejection>| result.map_err(|rejection| rejection.status);
        for _ in 0..3 {
            assert_eq!(status(access.compare("guess", here)), Err(401));
        }
        assert_eq!(status(access.compare("act", here)), Err(429));
        assert_eq!(status(access.compare("act", Arrival { address: None, ..here })), Ok(Right::Act));
        let later = Arrival { now: here.now + Duration::from_secs(1), ..here };
        assert_eq!(status(access.compare("act", later)), Ok(Right::Act));
    }
}
