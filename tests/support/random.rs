//! Numbers that look random and are the same each time.

/// Marsaglia's xorshift: the same faults for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let limit = u64::try_from(all.len()).expect("a short list");
        let index = usize::try_from(self.below(limit)).expect("below its length");
        &all[index]
    }
}
