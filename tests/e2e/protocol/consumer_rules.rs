//! The part of the conformance table that is about consumers, and about starting at a time.

/// See `conformance`.
pub const RULES: &[(&str, &str)] = &[
    // Starting at a time; the events of the old log have their numbers as times, in microseconds.
    (
        "a time is a place in the log",
        "with old 5\na> HELLO 1 2 x -; SUBSCRIBE 5 4 *\na< WELCOME 1 5\na< SUBSCRIBED 3\na< EVENT 4 Old {}\na< EVENT 5 Old {}",
    ),
    (
        "a time before the log is its beginning",
        "with old 5\nlog prune 3\na> HELLO 1 2 x -; SUBSCRIBE 7 0 *\na< WELCOME 1 5\na< SUBSCRIBED 2\na< EVENT 3 Old {}",
    ),
    (
        "a time to come is now",
        "with old 2\na> HELLO 1 2 x -; SUBSCRIBE 5 18446744073709551615 *\na< WELCOME 1 2\na< SUBSCRIBED 2\nlog A 3\na< EVENT 3 A 3",
    ),
    // Consumers.
    (
        "a consumer is sent what it may leave unacknowledged, and no more",
        "with old 5\na> HELLO 1 2 x -; CONSUME 0 c 1 0 2 *; PING 1\na< WELCOME 1 5\na< PONG 1\na< CONSUMING 0\na< EVENT 1 Old {}\n\
         a< EVENT 2 Old {}\na> PING 2\na< PONG 2\na> ACK 1\na< EVENT 3 Old {}\na> PING 3\na< PONG 3\na> ACK 3\n\
         a< EVENT 4 Old {}\na< EVENT 5 Old {}\na> ACK 5\nlog A 6\na< EVENT 6 A 6",
    ),
    (
        "a consumer goes on from what it acknowledged",
        "with old 3\na> HELLO 1 2 x -; CONSUME 0 c 1 0 9 *\na< WELCOME 1 3\na< CONSUMING 0\na< EVENT 1 Old {}\n\
         a< EVENT 2 Old {}\na< EVENT 3 Old {}\na> ACK 2; SHUT\na< END\nstored c 2\n\
         b> HELLO 1 2 x -; CONSUME 0 c 0 0 9 *\nb< WELCOME 1 3\nb< CONSUMING 2\nb< EVENT 3 Old {}",
    ),
    (
        "what is acknowledged is stored while the connection lasts",
        "with old 3\na> HELLO 1 2 x -; CONSUME 0 c 1 0 9 *\na< WELCOME 1 3\na< CONSUMING 0\na< EVENT 1 Old {}\n\
         a< EVENT 2 Old {}\na< EVENT 3 Old {}\na> ACK 1\nstored c 1\na> ACK 3\nstored c 3",
    ),
    (
        "events that are not its own need no acknowledgement",
        "with old 3\na> HELLO 1 2 x -; CONSUME 0 c 1 0 1 A\na< WELCOME 1 3\na< CONSUMING 0\nlog A 4\na< EVENT 4 A 4\nlog B 5\n\
         a> ACK 4; PING 1\na< PONG 1\na> SHUT\na< END\nstored c 5",
    ),
    (
        "a new consumer begins now",
        "with old 3\na> HELLO 1 2 x -; CONSUME 0 c 0 0 9 *\na< WELCOME 1 3\na< CONSUMING 3\nlog A 4\na< EVENT 4 A 4",
    ),
    (
        "or at the beginning of what is kept, which is no gap",
        "with old 5\nlog prune 5\na> HELLO 1 2 x -; CONSUME 0 c 1 0 9 *\na< WELCOME 1 5\na< CONSUMING 4\na< EVENT 5 Old {}",
    ),
    (
        "or after a number",
        "with old 5\na> HELLO 1 2 x -; CONSUME 0 c 2 4 9 *\na< WELCOME 1 5\na< CONSUMING 4\na< EVENT 5 Old {}",
    ),
    (
        "or at a time",
        "with old 5\na> HELLO 1 2 x -; CONSUME 0 c 3 5 9 *\na< WELCOME 1 5\na< CONSUMING 4\na< EVENT 5 Old {}",
    ),
    (
        "a consumer behind pruning gets a gap",
        "with old 5\nlog prune 4\na> HELLO 1 2 x -; CONSUME 0 c 2 1 9 *\na< WELCOME 1 5\na< CONSUMING 1\na< GAP 1 4\n\
         a< EVENT 4 Old {}\na< EVENT 5 Old {}",
    ),
    (
        "a consumer beyond the log gets a gap",
        "with old 2\na> HELLO 1 2 x -; CONSUME 0 c 2 9 9 *\na< WELCOME 1 2\na< CONSUMING 9\na< GAP 3 2\nlog A 3\na< EVENT 3 A 3",
    ),
    (
        "a consumer gets durable events only",
        "a> HELLO 1 3 x -; CONSUME 0 c 0 0 9 *\na< WELCOME 1 0\na< CONSUMING 0\na> PUBLISH A 1; PING 1\na< PONG 1",
    ),
    (
        "a newer connection takes a consumer over",
        "with old 2\na> HELLO 1 2 x -; CONSUME 0 c 1 0 9 *\na< WELCOME 1 2\na< CONSUMING 0\na< EVENT 1 Old {}\na< EVENT 2 Old {}\n\
         a> ACK 1; PING 1\na< PONG 1\nb> HELLO 1 2 x -; CONSUME 0 c 1 0 9 *\nb< WELCOME 1 2\na< ERROR 11\na< END\n\
         b< CONSUMING 1\nb< EVENT 2 Old {}",
    ),
    (
        "an operator takes a consumer away",
        "with old 3\na> HELLO 1 2 x -; CONSUME 0 c 1 0 1 *\na< WELCOME 1 3\na< CONSUMING 0\na< EVENT 1 Old {}\nmove c 2\n\
         a< ERROR 12\na< END\nb> HELLO 1 2 x -; CONSUME 0 c 1 0 1 *\nb< WELCOME 1 3\nb< CONSUMING 2\nb< EVENT 3 Old {}",
    ),
    (
        "an ACK never goes back",
        "with old 3\na> HELLO 1 2 x -; CONSUME 0 c 1 0 9 *\na< WELCOME 1 3\na< CONSUMING 0\na< EVENT 1 Old {}\n\
         a< EVENT 2 Old {}\na< EVENT 3 Old {}\na> ACK 3; ACK 1; ACK 0; SHUT\na< END\nstored c 3",
    ),
    (
        "an ACK beyond what was delivered is malformed, and changes nothing",
        "with old 3\na> HELLO 1 2 x -; CONSUME 0 c 1 0 2 *\na< WELCOME 1 3\na< CONSUMING 0\na< EVENT 1 Old {}\na< EVENT 2 Old {}\n\
         a> ACK 1; ACK 3\na< ERROR 1\na< END\nstored c 1",
    ),
    (
        "an ACK needs a consumer",
        "a> HELLO 1 2 x -; ACK 0\na< WELCOME 1 0\na< ERROR 1\na< END\n\
         b> HELLO 1 2 x -; SUBSCRIBE 0 0 *; ACK 0\nb< WELCOME 1 0\nb< SUBSCRIBED 0\nb< ERROR 1\nb< END",
    ),
    ("a publisher does not CONSUME", "a> HELLO 1 1 x -; CONSUME 0 c 0 0 9 *\na< WELCOME 1 0\na< ERROR 4\na< END"),
    ("nor ACK", "a> HELLO 1 1 x -; ACK 0\na< WELCOME 1 0\na< ERROR 4\na< END"),
    (
        "SUBSCRIBE or CONSUME, once",
        "a> HELLO 1 2 x -; CONSUME 0 c 0 0 9 *; SUBSCRIBE 0 0 *\na< WELCOME 1 0\na< ERROR 1\na< END\n\
         b> HELLO 1 2 x -; SUBSCRIBE 0 0 *; CONSUME 0 c 0 0 9 *\nb< WELCOME 1 0\nb< SUBSCRIBED 0\nb< ERROR 1\nb< END",
    ),
    ("a consumer has no flags", "a> HELLO 1 2 x -; CONSUME 1 c 0 0 9 *\na< WELCOME 1 0\na< ERROR 1\na< END"),
    ("a consumer has a name", "a> HELLO 1 2 x -; CONSUME 0 - 0 0 9 *\na< WELCOME 1 0\na< ERROR 1\na< END"),
    ("of a state's characters", "a> HELLO 1 2 x -; CONSUME 0 c* 0 0 9 *\na< WELCOME 1 0\na< ERROR 1\na< END"),
    ("a start is 0 to 3", "a> HELLO 1 2 x -; CONSUME 0 c 4 0 9 *\na< WELCOME 1 0\na< ERROR 1\na< END"),
    (
        "a consumer may leave one event unacknowledged",
        "a> HELLO 1 2 x -; CONSUME 0 c 0 0 0 *\na< WELCOME 1 0\na< ERROR 1\na< END",
    ),
    ("up to 10,000", "a> HELLO 1 2 x -; CONSUME 0 c 0 0 10001 *\na< WELCOME 1 0\na< ERROR 1\na< END"),
    (
        "a consumer's states are checked",
        "with states Done\na> HELLO 1 2 x -; CONSUME 0 c 0 0 9 Dne\na< WELCOME 1 0\na< ERROR 6\na< END",
    ),
];
