//! Versions of files that might be half written, and how long they have to stay as they are before they count.
//!
//! Whoever writes a file in place first empties it. Where the kernel tells who writes, such a file is not looked at
//! before it is closed; this is for everything else: events still on their way, file systems without events, programs
//! that write a file in several goes. A version that only adds is never in doubt.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::walk::Stamp;

/// How long a doubtful version has to stay as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settle {
    /// A version shorter than the last one.
    pub(crate) shorter: Duration,
    /// A version that lacks objects the last one had; a file that is gone lacks all.
    pub(crate) lacking: Duration,
}

/// What speaks against a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// It is shorter than the last one.
    Shorter,
    /// It lacks objects the last one had.
    Lacking,
}

/// The versions in doubt by file; `None` stands for "gone".
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    by_file: BTreeMap<Arc<str>, (Option<Stamp>, Instant)>,
}

impl Doubts {
    /// Whether the version may count now. The first answer for a version is no, unless nothing has to be waited for.
    pub(crate) fn cleared(
        &mut self,
        file: &Arc<str>,
        version: Option<Stamp>,
        suspicion: Suspicion,
        (now, settle): (Instant, Settle),
    ) -> bool {
        let wait = match suspicion {
            Suspicion::Shorter => settle.shorter,
            Suspicion::Lacking => settle.lacking,
        };
        let due = match self.by_file.get(file) {
            Some((known, due)) if *known == version => *due,
            _ => now + wait,
        };
        if due <= now {
            self.by_file.remove(file);
            return true;
        }
        self.by_file.insert(Arc::clone(file), (version, due));
        false
    }

    /// The file has a version without doubt.
    pub(crate) fn forget(&mut self, file: &str) {
        self.by_file.remove(file);
    }

    /// Keeps only the files for which `stays` holds.
    pub(crate) fn retain(&mut self, stays: impl Fn(&Arc<str>) -> bool) {
        self.by_file.retain(|file, _| stays(file));
    }

    /// Forgets everything: the files cannot be looked at.
    pub(crate) fn clear(&mut self) {
        self.by_file.clear();
    }

    /// When the next version can count.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.by_file.values().map(|(_, due)| *due).min()
    }

    /// All files in doubt.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.by_file.keys().map(|file| PathBuf::from(&**file))
    }
}
