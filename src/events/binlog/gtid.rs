//! Sets of GTIDs, as a position in the log is kept: those of MySQL as intervals by source, those of MariaDB as the last one
//! of each domain.

use std::collections::BTreeMap;

/// A set of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    /// By source, with its tag if it has one: intervals with both ends, ascending and apart.
    sources: BTreeMap<String, Vec<(u64, u64)>>,
    /// By domain: the last one, as `domain-server-number`.
    domains: BTreeMap<u32, String>,
}

impl GtidSet {
    /// Reads what `@@gtid_executed` or `@@gtid_binlog_pos` prints; None: it is neither.
    pub fn parse(text: &str) -> Option<GtidSet> {
        let mut set = GtidSet::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if !part.contains(':') {
                set.add(part)?;
                continue;
            }
            let mut pieces = part.split(':');
            let source = pieces.next()?.to_ascii_lowercase();
            let mut key = source.clone();
            for piece in pieces {
                if piece.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    key = format!("{source}:{piece}");
                    continue;
                }
                let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
                set.insert(&key, first.parse().ok()?, last.parse().ok()?);
            }
        }
        Some(set)
    }

    /// Adds one transaction: `source:number`, `source:tag:number` or `domain-server-number`. None: it is none.
    pub fn add(&mut self, gtid: &str) -> Option<()> {
        match gtid.rsplit_once(':') {
            Some((key, number)) => {
                let number = number.parse().ok()?;
                self.insert(key, number, number);
            }
            None => {
                let domain = gtid.split('-').next()?.parse().ok()?;
                self.domains.insert(domain, gtid.into());
            }
        }
        Some(())
    }

    /// Whether it has transactions of MySQL.
    pub fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    fn insert(&mut self, key: &str, first: u64, last: u64) {
        if !self.sources.contains_key(key) {
            self.sources.insert(key.into(), Vec::new());
        }
        let Some(intervals) = self.sources.get_mut(key) else { return };
        // Nearly always the number after the last one.
        if let Some(end) = intervals.last_mut()
            && end.1.checked_add(1) == Some(first)
        {
            end.1 = last;
            return;
        }
        intervals.push((first, last));
        intervals.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals.drain(..) {
            match merged.last_mut() {
                Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        *intervals = merged;
    }
}

impl std::fmt::Display for GtidSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources = self.sources.iter().map(|(key, intervals)| {
            let one =
                |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
            format!("{key}:{}", intervals.iter().map(one).collect::<Vec<_>>().join(":"))
        });
        let all: Vec<String> = sources.chain(self.domains.values().cloned()).collect();
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn transactions_join_the_intervals_that_they_touch() {
        let mut set = GtidSet::parse(&format!("{A}:1-5:7:tag:1-2,\n{}:9", A.replace('3', "4"))).unwrap();
        for number in [6, 9, 8, 20] {
            set.add(&format!("{A}:{number}")).unwrap();
        }
        set.add(&format!("{A}:tag:3")).unwrap();
        assert_eq!(set.to_string(), format!("{A}:1-9:20,{A}:tag:1-3,{}:9", A.replace('3', "4")));
    }

    #[test]
    fn domains_keep_their_last_transaction() {
        let mut set = GtidSet::parse("0-1-7,2-1-9").unwrap();
        set.add("0-2-8").unwrap();
        assert_eq!(set.to_string(), "0-2-8,2-1-9");
        assert_eq!(GtidSet::parse("").unwrap().to_string(), "");
        for wrong in ["x", "a:b:", "a:1-x", "-1-2"] {
            assert_eq!(GtidSet::parse(wrong), None, "{wrong}");
        }
    }
}
