//! The source that follows directories.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use reef_config::{Change, ChangeBatch};
use tokio::sync::mpsc;
use tokio::time;

use crate::Source;
use crate::tree::Tree;
use crate::watch::{Touched, Watch};

/// How a [`FileSource`] follows its directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// How long nothing may be touched before the files are read; 10 ms, enough for a write in pieces.
    pub quiet: Duration,
    /// How long the files may be touched without a pause before they are read anyway; 100 ms.
    pub longest_wait: Duration,
    /// How often names, sizes and times are compared, whatever the kernel said; 30 s.
    pub compare_every: Duration,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(10),
            longest_wait: Duration::from_millis(100),
            compare_every: Duration::from_secs(30),
        }
    }
}

/// How often files are compared where the kernel does not tell; a walk of 10,000 names takes some 20 ms.
const COMPARE_UNWATCHED: Duration = Duration::from_secs(2);

/// Directories of YAML and JSON, followed as they change.
///
/// Of an object that is in several files the first path wins. A bad document keeps its last good version. A
/// directory that vanishes or loses all its objects at once keeps its last state.
#[derive(Debug)]
pub struct FileSource {
    tree: Tree,
    options: FileOptions,
}

impl FileSource {
    /// A source of these directories. `mesh_config` wins over ConfigMap `istio-system/istio`.
    #[must_use]
    pub fn new(dirs: Vec<PathBuf>, mesh_config: Option<PathBuf>, options: FileOptions) -> Self {
        Self {
            tree: Tree::new(dirs, mesh_config),
            options,
        }
    }
}

impl Source for FileSource {
    async fn run(self, out: mpsc::Sender<ChangeBatch>) {
        let Self { mut tree, options } = self;
        let mut watch = Watch::new();
        let mut touched = Touched {
            paths: BTreeSet::new(),
            everything: true,
        };
        let mut first = true;
        loop {
            // Walking and parsing block, so they run off the reactor.
            let work = tokio::task::spawn_blocking(move || {
                if let Some(dir) = tree.mesh_dir().filter(|_| touched.everything) {
                    watch.add(&dir);
                }
                let paths = (!touched.everything).then_some(&touched.paths);
                let changes = tree.refresh(paths, &mut |dir| watch.add(dir));
                (tree, watch, changes)
            });
            let changes: Vec<Change>;
            match work.await {
                Ok(done) => (tree, watch, changes) = done,
                Err(error) => {
                    tracing::error!(%error, "reading files failed, they are no longer followed");
                    return;
                }
            }
            if first || !changes.is_empty() {
                first = false;
                tracing::debug!(changes = changes.len(), "files read");
                if out
                    .send(ChangeBatch {
                        changes,
                        synced: true,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            touched = tokio::select! {
                touched = settled(&watch, &options) => touched,
                () = out.closed() => return,
            };
        }
    }
}

/// Waits for the next reason to look at the files, and until they are quiet.
async fn settled(watch: &Watch, options: &FileOptions) -> Touched {
    let compare = if watch.works() {
        options.compare_every
    } else {
        COMPARE_UNWATCHED
    };
    if time::timeout(compare, watch.touched()).await.is_err() {
        return Touched {
            paths: BTreeSet::new(),
            everything: true,
        };
    }
    let wait_until_quiet = async {
        loop {
            if time::timeout(options.quiet, watch.touched()).await.is_err() {
                return;
            }
        }
    };
    if time::timeout(options.longest_wait, wait_until_quiet)
        .await
        .is_err()
    {
        tracing::debug!("files change without a pause");
    }
    watch.take()
}
