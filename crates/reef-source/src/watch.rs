//! What the kernel says has changed, gathered until someone takes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// More touched paths than this are not worth naming: all names are compared instead.
const MAX_PATHS: usize = 4096;

/// What has been touched since it was last taken.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) paths: BTreeSet<PathBuf>,
    /// Paths are missing here; everything has to be looked at.
    pub(crate) everything: bool,
}

#[derive(Debug, Default)]
struct Gathered {
    touched: Mutex<Touched>,
    wake: Notify,
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
    pub(crate) fn new() -> Self {
        let gathered = Arc::new(Gathered::default());
        let sink = Arc::clone(&gathered);
        let watcher = notify::recommended_watcher(move |event| sink.add(event))
            .inspect_err(|error| tracing::warn!(%error, "files can't be watched, only compared"))
            .ok();
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

    /// Takes what has been touched.
    pub(crate) fn take(&self) -> Touched {
        std::mem::take(&mut self.gathered.touched.lock())
    }
}

impl Gathered {
    fn add(&self, event: notify::Result<notify::Event>) {
        {
            let mut touched = self.touched.lock();
            match event {
                // Reading a file is no change, and Reef reads them all.
                Ok(event)
                    if matches!(
                        event.kind,
                        EventKind::Access(
                            notify::event::AccessKind::Open(_) | notify::event::AccessKind::Read
                        )
                    ) =>
                {
                    return;
                }
                Ok(event) if event.need_rescan() => touched.everything = true,
                Ok(event) => touched.paths.extend(event.paths),
                Err(error) => {
                    tracing::warn!(%error, "watching files failed, comparing all");
                    touched.everything = true;
                }
            }
            if touched.paths.len() > MAX_PATHS {
                touched.everything = true;
            }
            if touched.everything {
                touched.paths.clear();
            }
        }
        self.wake.notify_one();
    }
}
