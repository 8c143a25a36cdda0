//! From a state to its subscribers, without touching any others. The cost of adding and removing a subscriber does not
//! depend on how many others share its patterns. Pure.

use super::filter::Filter;
use crate::wire::Pattern;
use slab::Slab;
use std::collections::{BTreeMap, HashMap, btree_map::Entry};

/// An index of all subscriptions by their patterns.
#[derive(Default)]
pub struct Topics {
    names: HashMap<Box<str>, usize>,
    prefixes: HashMap<Box<str>, usize>,
    /// How many prefixes of each length exist, so that an event looks up only those lengths.
    prefix_lengths: BTreeMap<usize, usize>,
    topics: Slab<Topic>,
    /// For each subscriber, its positions in the topics' lists.
    places: HashMap<usize, Box<[Place]>>,
}

struct Topic {
    text: Box<str>,
    is_prefix: bool,
    members: Vec<Member>,
}

/// An entry in a topic's list. `slot`: the index among the subscriber's positions.
#[derive(Clone, Copy)]
struct Member {
    subscriber: usize,
    slot: usize,
}

#[derive(Clone, Copy)]
struct Place {
    topic: usize,
    index: usize,
}

impl Topics {
    /// Adds a subscriber, which must not have a subscription yet.
    pub fn subscribe(&mut self, subscriber: usize, filter: &Filter) {
        let places = filter.patterns().enumerate().map(|(slot, pattern)| {
            let topic = self.topic(pattern);
            let members = &mut self.topics[topic].members;
            members.push(Member { subscriber, slot });
            Place { topic, index: members.len() - 1 }
        });
        let places: Box<[Place]> = places.collect();
        let before = self.places.insert(subscriber, places);
        debug_assert!(before.is_none(), "one subscription per subscriber");
    }

    /// Removes a subscriber, if it has a subscription.
    pub fn unsubscribe(&mut self, subscriber: usize) {
        for place in self.places.remove(&subscriber).unwrap_or_default() {
            let topic = &mut self.topics[place.topic];
            topic.members.swap_remove(place.index);
            if let Some(moved) = topic.members.get(place.index)
                && let Some(places) = self.places.get_mut(&moved.subscriber)
            {
                places[moved.slot].index = place.index;
            }
            if topic.members.is_empty() {
                self.forget(place.topic);
            }
        }
    }

    /// Every subscriber of `state`, each once.
    pub fn subscribers<'a>(&'a self, state: &'a str) -> impl Iterator<Item = usize> + 'a {
        let by_name = self.names.get(state);
        let lengths = self.prefix_lengths.range(..=state.len()).map(|(&length, _)| length);
        let by_prefix = lengths.filter_map(|length| self.prefixes.get(state.get(..length)?));
        let topics = by_name.into_iter().chain(by_prefix);
        topics.flat_map(|&topic| self.topics[topic].members.iter().map(|member| member.subscriber))
    }

    fn topic(&mut self, pattern: Pattern<'_>) -> usize {
        let (index, text, is_prefix) = match pattern {
            Pattern::Exact(name) => (&mut self.names, name, false),
            Pattern::Prefix(prefix) => (&mut self.prefixes, prefix, true),
        };
        if let Some(&topic) = index.get(text) {
            return topic;
        }
        let topic = self.topics.insert(Topic { text: text.into(), is_prefix, members: Vec::new() });
        index.insert(text.into(), topic);
        if is_prefix {
            *self.prefix_lengths.entry(text.len()).or_default() += 1;
        }
        topic
    }

    fn forget(&mut self, topic: usize) {
        let Topic { text, is_prefix, .. } = self.topics.remove(topic);
        if is_prefix && let Entry::Occupied(mut count) = self.prefix_lengths.entry(text.len()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        let index = if is_prefix { &mut self.prefixes } else { &mut self.names };
        index.remove(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Subscribe(usize, Vec<String>),
        Unsubscribe(usize),
        Event(String),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..12, prop::collection::vec("[ab]{1,3}|[ab]{0,2}\\*", 1..5))
                .prop_map(|(s, p)| Step::Subscribe(s, p)),
            (0usize..12).prop_map(Step::Unsubscribe),
            "[ab]{1,4}".prop_map(Step::Event),
        ]
    }

    proptest! {
        /// Compares the index with the simplest possible model.
        #[test]
        fn finds_exactly_the_matching_subscribers(steps in prop::collection::vec(step(), 1..120)) {
            let (mut topics, mut model) = (Topics::default(), BTreeMap::<usize, Filter>::new());
            for step in steps {
                match step {
                    Step::Subscribe(subscriber, texts) if !model.contains_key(&subscriber) => {
                        let patterns: Vec<Pattern> = texts.iter().map(|text| Pattern::new(text).unwrap()).collect();
                        topics.subscribe(subscriber, &Filter::new(&patterns));
                        model.insert(subscriber, Filter::new(&patterns));
                    }
                    Step::Subscribe(..) => {}
                    Step::Unsubscribe(subscriber) => {
                        topics.unsubscribe(subscriber);
                        model.remove(&subscriber);
                    }
                    Step::Event(state) => {
                        let mut found: Vec<usize> = topics.subscribers(&state).collect();
                        found.sort_unstable();
                        let expected: Vec<usize> =
                            model.iter().filter(|(_, filter)| filter.matches(&state)).map(|(&s, _)| s).collect();
                        prop_assert_eq!(found, expected);
                    }
                }
            }
            for subscriber in model.into_keys() {
                topics.unsubscribe(subscriber);
            }
            prop_assert!(topics.topics.is_empty() && topics.names.is_empty() && topics.prefixes.is_empty());
            prop_assert!(topics.prefix_lengths.is_empty());
        }
    }
}
