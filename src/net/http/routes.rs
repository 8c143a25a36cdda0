//! What is there: paths, and the methods that each allows. Paths are compared as they were sent: none of resq's needs an
//! escape, so one that has any is another path. Pure.

use super::dashboard;
use super::request::{Head, Method, Rejection};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether the daemon is alive.
    Health,
    /// Whether it is ready to serve.
    Ready,
    /// Its metrics.
    Metrics,
    /// Its events.
    Stream,
    /// Who receives them.
    Subscribers,
    /// The last hours of its metrics.
    Series,
    /// A file of the page.
    File(usize),
    /// What the request's cookie or token permits.
    Right,
    /// A cookie for a token.
    Login,
    /// No cookie any more.
    Logout,
    /// What only the database can answer, below [`API`].
    Api,
}

const READ: &str = "GET, HEAD";
const ACT: &str = "POST";

/// Everything below it that has no route of its own is asked of the database.
pub const API: &str = "/api/v1";

/// Path, allowed methods, route.
const ROUTES: &[(&str, &str, Route)] = &[
    ("/healthz", READ, Route::Health),
    ("/readyz", READ, Route::Ready),
    ("/metrics", READ, Route::Metrics),
    ("/api/v1/stream", READ, Route::Stream),
    ("/api/v1/series", READ, Route::Series),
    ("/api/v1/subscribers", READ, Route::Subscribers),
    ("/login", READ, Route::Right),
    ("/login", ACT, Route::Login),
    ("/logout", ACT, Route::Logout),
];

/// The paths below [`API`], without it, that need no database.
pub fn api_paths() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter_map(|(path, ..)| path.strip_prefix(API))
}

/// The route of a request.
///
/// # Errors
/// 404: nothing is there, 405: the method is not allowed there.
pub fn find(head: &Head) -> Result<Route, Rejection> {
    let file = dashboard::find(&head.path).map(|file| (READ, Route::File(file)));
    let routes = ROUTES.iter().filter(|(path, ..)| *path == head.path).map(|(_, allowed, route)| (*allowed, *route));
    let below = head.path.strip_prefix(API).filter(|rest| rest.starts_with('/'));
    let here: Vec<(&str, Route)> = routes.chain(file).collect();
    if here.is_empty() {
        // What only the database can answer is checked where it is asked, and so are its methods.
        let nothing = || Rejection::new(404, "there is nothing at this path");
        return below.map(|_| Route::Api).ok_or_else(nothing);
    }
    let is_allowed = |allowed: &str| match head.method {
        Method::Get | Method::Head => allowed != ACT,
        Method::Post => allowed != READ,
        Method::Other => false,
    };
    match here.iter().find(|(allowed, _)| is_allowed(allowed)) {
        Some((_, route)) => Ok(*route),
        None => {
            let allowed = here.iter().map(|(allowed, _)| *allowed).collect::<Vec<_>>().join(", ");
            Err(Rejection::new(405, format!("this path allows {allowed} only")).with("Allow", allowed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact() {
        for (line, expected) in [
            ("GET /healthz", Ok(Route::Health)),
            ("HEAD /metrics?x", Ok(Route::Metrics)),
            ("POST /login", Ok(Route::Login)),
            ("GET /api/v1/jobs/17?a=b", Ok(Route::Api)),
            ("POST /api/v1/jobs", Ok(Route::Api)),
            ("DELETE /api/v1/jobs/17", Ok(Route::Api)),
            ("POST /api/v1/stream", Err(405)),
            ("GET /api/v1/subscribers", Ok(Route::Subscribers)),
            ("GET /api/v1", Err(404)),
            ("GET /api/v12/jobs", Err(404)),
            ("GET /login", Ok(Route::Right)),
            ("DELETE /login", Err(405)),
            ("POST /", Err(405)),
            ("GET /dashboard/", Err(404)),
            ("GET /dashboard/../Cargo.toml", Err(404)),
            ("POST /metrics", Err(405)),
            ("DELETE /metrics", Err(405)),
            ("GET //metrics", Err(404)),
            ("GET /metrics/", Err(404)),
            ("GET /Metrics", Err(404)),
            ("GET /%6detrics", Err(404)),
            ("GET /x/../metrics", Err(404)),
            ("GET /metrics%00", Err(404)),
            ("GET /../../etc/passwd", Err(404)),
            ("GET /metrics;a=b", Err(404)),
            ("GET /metrics\\", Err(404)),
        ] {
            let head = Head::parse(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(find(&head).map_err(|rejection| rejection.status), expected, "{line}");
        }
    }
}
