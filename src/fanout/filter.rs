//! The patterns of one subscriber, reduced until no state matches two of them, so that it receives each event once. Pure.

use crate::wire::Pattern;

/// Disjoint patterns: no prefix begins with another one, and no name begins with a prefix. Both lists are sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter {
    names: Box<[Box<str>]>,
    prefixes: Box<[Box<str>]>,
}

impl Filter {
    /// Matches the same states with as few patterns as possible.
    pub fn new(patterns: &[Pattern<'_>]) -> Filter {
        let (mut names, mut prefixes) = (Vec::new(), Vec::new());
        for pattern in patterns {
            match pattern {
                Pattern::Exact(name) => names.push(*name),
                Pattern::Prefix(prefix) => prefixes.push(*prefix),
            }
        }
        prefixes.sort_unstable();
        // Texts that begin with a prefix sort right after it, so the last prefix kept is the only candidate.
        prefixes.dedup_by(|later, kept| later.starts_with(*kept));
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !begins_with_one_of(&prefixes, name));
        let boxed = |list: Vec<&str>| list.into_iter().map(Box::from).collect();
        Filter { names: boxed(names), prefixes: boxed(prefixes) }
    }

    /// Whether the subscriber wants events of this state.
    pub fn matches(&self, state: &str) -> bool {
        begins_with_one_of(&self.prefixes, state) || self.names.binary_search_by(|name| (**name).cmp(state)).is_ok()
    }

    /// The reduced patterns.
    pub fn patterns(&self) -> impl Iterator<Item = Pattern<'_>> {
        let names = self.names.iter().map(|name| Pattern::Exact(name));
        names.chain(self.prefixes.iter().map(|prefix| Pattern::Prefix(prefix)))
    }
}

/// Among disjoint prefixes, only the greatest one not greater than `state` can be a prefix of it.
fn begins_with_one_of(prefixes: &[impl AsRef<str>], state: &str) -> bool {
    let after = prefixes.partition_point(|prefix| prefix.as_ref() <= state);
    after > 0 && state.starts_with(prefixes[after - 1].as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(texts: &[&str]) -> Filter {
        Filter::new(&texts.iter().map(|text| Pattern::new(text).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn patterns_that_others_cover_are_dropped() {
        for (asked, kept) in [
            (&["A", "A"][..], &["A"][..]),
            (&["A", "*", "B*"], &["*"]),
            (&["AB", "A*", "ABC*", "B"], &["B", "A*"]),
            (&["A*", "A*", "A"], &["A*"]),
            (&["b", "a"], &["a", "b"]),
        ] {
            let texts: Vec<String> = filter(asked).patterns().map(|pattern| pattern.to_string()).collect();
            assert_eq!(texts, kept, "{asked:?}");
        }
    }

    proptest! {
        #[test]
        fn matches_the_same_states_as_the_patterns_and_none_twice(
            texts in prop::collection::vec("[a-c]{1,3}|[a-c]{0,3}\\*", 1..12),
            states in prop::collection::vec("[a-c]{1,4}", 1..30),
        ) {
            let asked: Vec<Pattern> = texts.iter().map(|text| Pattern::new(text).unwrap()).collect();
            let filter = Filter::new(&asked);
            for state in &states {
                let hits = filter.patterns().filter(|pattern| pattern.matches(state)).count();
                prop_assert!(hits <= 1);
                prop_assert_eq!(hits == 1, asked.iter().any(|pattern| pattern.matches(state)));
                prop_assert_eq!(filter.matches(state), hits == 1);
            }
        }
    }
}
