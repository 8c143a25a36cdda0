//! How many databases to read at once. Pure.

/// How many databases to ask for at once, so that large ones do not fill the memory and small ones do not cost a query
/// each.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    databases: usize,
}

/// The objects that one piece should have.
const OBJECTS: usize = 50_000;
/// The most databases in one piece.
const MOST: usize = 500;

impl Default for Pace {
    fn default() -> Pace {
        Pace { databases: 20 }
    }
}

impl Pace {
    /// The number of databases in the next piece, at least 1.
    pub fn next(self) -> usize {
        self.databases
    }

    /// Learns from a piece of `databases` with so many `objects` in all.
    pub fn read(&mut self, databases: usize, objects: usize) {
        let fitting = OBJECTS * databases / objects.max(1);
        self.databases = fitting.clamp(1, MOST).min(self.databases * 5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_with_small_databases_and_shrink_with_large_ones() {
        let mut pace = Pace::default();
        for (databases, objects, next) in
            [(20, 400, 100), (100, 2_000, 500), (500, 10_000, 500), (500, 500_000, 50), (50, 5_000_000, 1), (1, 9, 5)]
        {
            pace.read(databases, objects);
            assert_eq!(pace.next(), next, "{databases} {objects}");
        }
        pace.read(0, 0);
        assert!(pace.next() >= 1);
    }
}
