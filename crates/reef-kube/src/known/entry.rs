//! What is noted of one object: eight bytes, because a cluster has tens of thousands of them.

/// The list that goes on has it, or the last one had, or it came since.
pub(super) const LISTED: u64 = 1;

/// It is in effect.
pub(super) const TOLD: u64 = 2;

/// Problems of it were told.
pub(super) const FAULTY: u64 = 4;

/// Its namespace is not read, so that nobody knows what it says.
pub(super) const UNREAD: u64 = 8;

/// Bits below the version.
const SIGNS: u32 = 4;

/// The version of an object, and what is true of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u64);

impl Entry {
    /// An object that is there in a version, 0 if it has none that can be compared; nor can those beyond 2⁶⁰, which no
    /// store has reached by counting.
    pub(super) const fn new(version: u64) -> Self {
        Self(LISTED).at(version)
    }

    /// The same in another version.
    pub(super) const fn at(self, version: u64) -> Self {
        let signs = self.0 & ((1 << SIGNS) - 1);
        let version = if version.leading_zeros() < SIGNS {
            0
        } else {
            version
        };
        Self(version << SIGNS | signs)
    }

    /// The version.
    pub(super) const fn version(&self) -> u64 {
        self.0 >> SIGNS
    }

    /// Whether something is true of it.
    pub(super) const fn is(self, sign: u64) -> bool {
        self.0 & sign != 0
    }

    /// The same with something true of it or not.
    pub(super) const fn with(self, sign: u64, is: bool) -> Self {
        Self(if is { self.0 | sign } else { self.0 & !sign })
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("version", &self.version())
            .field("listed", &self.is(LISTED))
            .field("told", &self.is(TOLD))
            .field("faulty", &self.is(FAULTY))
            .field("unread", &self.is(UNREAD))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_versions_do_not_mix() {
        let entry = Entry::new(7).with(TOLD, true).with(UNREAD, true);
        assert_eq!(entry.version(), 7);
        assert!(entry.is(LISTED) && entry.is(TOLD) && entry.is(UNREAD) && !entry.is(FAULTY));
        let later = entry.at((1 << 60) - 1).with(TOLD, false);
        assert_eq!(later.version(), (1 << 60) - 1);
        assert!(later.is(LISTED) && !later.is(TOLD) && later.is(UNREAD) && !later.is(FAULTY));
        for beyond in [1 << 60, u64::MAX] {
            assert_eq!(later.at(beyond), later.at(0), "compares with nothing");
        }
        assert_eq!(size_of::<Entry>(), 8);
    }
}
