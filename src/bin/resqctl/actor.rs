//! Who runs this program, for the audit.

use nix::unistd::{User, gethostname, getuid};
use resq::queue::audit::Actor;

/// The system's user on this host: `alice@db1 via resqctl`.
pub fn of_system(reason: &Option<String>) -> Actor {
    let user = User::from_uid(getuid()).ok().flatten().map_or_else(|| format!("uid {}", getuid()), |user| user.name);
    let host = gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Actor { who: format!("{user}@{host} via resqctl"), reason: reason.clone() }
}
