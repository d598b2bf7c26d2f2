//! What the kernel says has changed, gathered until someone takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// More touched paths than this are not worth naming: all names are compared instead.
const MAX_PATHS: usize = 4096;

/// What has been touched since it was last taken.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) paths: BTreeSet<PathBuf>,
    /// Paths are missing here; everything has to be looked at.
    pub(crate) everything: bool,
    /// Files somebody is writing; they come among `paths` when they are closed.
    pub(crate) writing: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Gathered {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    paths: BTreeSet<PathBuf>,
    everything: bool,
    /// Files that were written to and not closed yet, and when they were last written to.
    writing: BTreeMap<PathBuf, Instant>,
}

/// Watches folders, each by itself, because links are followed by the walk and not by the kernel.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None` if the kernel gives no watcher; then only the regular comparison finds changes.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    gathered: Arc<Gathered>,
}

impl Watch {
    /// A watch of nothing yet; with `wanted` false it never tells anything.
    pub(crate) fn new(wanted: bool) -> Self {
        let gathered = Arc::new(Gathered::default());
        let sink = Arc::clone(&gathered);
        let watcher = wanted
            .then(|| notify::recommended_watcher(move |event| sink.add(event)))
            .transpose()
            .inspect_err(|error| tracing::warn!(%error, "files can't be watched, only compared"))
            .ok()
            .flatten();
        Self {
            watcher,
            watched: BTreeSet::new(),
            gathered,
        }
    }

    /// Whether every folder is watched.
    pub(crate) fn works(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches a folder. Adding it again renews the watch, in case the folder was replaced by another.
    pub(crate) fn add(&mut self, dir: &Path) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        match watcher.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(dir.to_path_buf());
            }
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "folder can't be watched, only compared");
                self.watcher = None;
            }
        }
    }

    /// Waits until something has been touched.
    pub(crate) async fn touched(&self) {
        self.gathered.wake.notified().await;
    }

    /// Takes what has been touched. A file that has been open for `patience` without a write counts as whole.
    pub(crate) fn take(&self, patience: Duration) -> Touched {
        let mut state = self.gathered.state.lock();
        let now = Instant::now();
        state.writing.retain(|_, last| *last + patience > now);
        let writing: BTreeSet<PathBuf> = state.writing.keys().cloned().collect();
        let (open, paths) = std::mem::take(&mut state.paths)
            .into_iter()
            .partition(|path| writing.contains(path));
        state.paths = open;
        Touched {
            paths,
            everything: std::mem::take(&mut state.everything),
            writing,
        }
    }

    /// When a file that is being written counts as whole although nobody closed it.
    pub(crate) fn open_until(&self, patience: Duration) -> Option<Instant> {
        let state = self.gathered.state.lock();
        state.writing.values().min().map(|last| *last + patience)
    }
}

impl Gathered {
    fn add(&self, event: notify::Result<notify::Event>) {
        {
            let mut state = self.state.lock();
            match event {
                Ok(event) if event.need_rescan() => state.lost_track(),
                Ok(event) => {
                    if !state.note(&event.kind, event.paths) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "watching files failed, comparing all");
                    state.lost_track();
                }
            }
            if state.paths.len() > MAX_PATHS {
                state.everything = true;
            }
            if state.everything {
                state.paths.clear();
            }
        }
        self.wake.notify_one();
    }
}

impl State {
    /// Events are missing: neither the paths nor who writes is known any more.
    fn lost_track(&mut self) {
        self.everything = true;
        self.writing.clear();
    }

    /// Takes an event; tells whether it can mean a change.
    fn note(&mut self, kind: &EventKind, paths: Vec<PathBuf>) -> bool {
        let writes = match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            // Reading a file is no change, and Reef reads them all.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => true,
            // A link is whole when it is made; a file is whole when it is closed.
            EventKind::Create(CreateKind::File) => paths.iter().all(|path| {
                std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_file())
            }),
            EventKind::Modify(ModifyKind::Metadata(_)) => {
                self.paths.extend(paths);
                return true;
            }
            _ => false,
        };
        for path in paths {
            if writes {
                self.writing.insert(path.clone(), Instant::now());
            } else {
                self.writing.remove(&path);
            }
            self.paths.insert(path);
        }
        true
    }
}

#[cfg(test)]
mod tests;
