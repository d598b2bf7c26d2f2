//! The source that follows directories.

use std::path::PathBuf;
use std::time::Duration;

use reef_config::{Change, ChangeBatch, ClusterId};
use tokio::sync::mpsc;
use tokio::time::{self, Instant};

use crate::Source;
use crate::SourceMetrics;
use crate::doubt::Settle;
use crate::tree::{Look, Tree};
use crate::watch::{Touched, Watch};

/// How a [`FileSource`] follows its directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// How long nothing may be touched before the files are read; 1 ms, which gathers what the kernel tells at once.
    /// Waiting for further edits is up to the receiver.
    pub quiet: Duration,
    /// How long the files may be touched without a pause before they are read anyway; 20 ms.
    pub longest_wait: Duration,
    /// How often names, sizes and times are compared, whatever the kernel said; 30 s.
    pub compare_every: Duration,
    /// How long a file may stay open without a write before it is read anyway; 2 s.
    pub longest_open: Duration,
    /// How long a version that is shorter than the last one has to stay as it is before it counts; 20 ms.
    pub settle_shorter: Duration,
    /// The same for a version that lacks objects the last one had, and for a file that is gone; 500 ms.
    pub settle_lacking: Duration,
    /// Whether the kernel is asked to tell of changes. File systems over a network do not; then, and where it fails,
    /// everything is compared every 2 s, or `compare_every` if that is shorter.
    pub watch: bool,
    /// The cluster all objects belong to.
    pub cluster: ClusterId,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(1),
            longest_wait: Duration::from_millis(20),
            compare_every: Duration::from_secs(30),
            longest_open: Duration::from_secs(2),
            settle_shorter: Duration::from_millis(20),
            settle_lacking: Duration::from_millis(500),
            watch: true,
            cluster: ClusterId::default(),
        }
    }
}

/// How often files are compared where the kernel does not tell; a walk of 10,000 names takes some 20 ms.
const COMPARE_UNWATCHED: Duration = Duration::from_secs(2);

/// Directories of YAML and JSON, followed as they change.
///
/// Of an object that is in several files the first path wins. A bad document keeps its last good version. A
/// directory that vanishes or loses all its objects at once keeps its last state. A file is read when whoever writes
/// it closes it; see [`FileOptions`] for what happens where nobody tells.
#[derive(Debug)]
pub struct FileSource {
    tree: Tree,
    options: FileOptions,
    metrics: SourceMetrics,
}

impl FileSource {
    /// A source of these directories. `mesh_config` wins over ConfigMap `istio-system/istio`.
    #[must_use]
    pub fn new(dirs: Vec<PathBuf>, mesh_config: Option<PathBuf>, options: FileOptions) -> Self {
        let metrics = SourceMetrics::default();
        Self {
            tree: Tree::new(dirs, mesh_config, options.cluster.clone(), metrics.clone()),
            options,
            metrics,
        }
    }

    /// What it counts, to be registered.
    #[must_use]
    pub const fn metrics(&self) -> &SourceMetrics {
        &self.metrics
    }
}

impl Source for FileSource {
    async fn run(self, out: mpsc::Sender<ChangeBatch>) {
        let Self {
            mut tree, options, ..
        } = self;
        let mut watch = Watch::new(options.watch);
        let mut touched = Touched {
            everything: true,
            ..Touched::default()
        };
        let mut first = true;
        loop {
            let settle = options.settle(&touched);
            // Walking and parsing block, so they run off the reactor.
            let work = tokio::task::spawn_blocking(move || {
                if let Some(dir) = tree.mesh_dir().filter(|_| touched.everything) {
                    watch.add(&dir);
                }
                let look = Look {
                    touched: (!touched.everything).then_some(&touched.paths),
                    writing: &touched.writing,
                    settle: Some((Instant::now(), settle)),
                };
                let changes = tree.refresh(&look, &mut |dir| watch.add(dir));
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
                touched = settled(&watch, &tree, &options) => touched,
                () = out.closed() => return,
            };
        }
    }
}

impl FileOptions {
    /// Where events are missing, shorter is as doubtful as lacking.
    fn settle(&self, touched: &Touched) -> Settle {
        Settle {
            shorter: if touched.everything {
                self.settle_lacking
            } else {
                self.settle_shorter
            },
            lacking: self.settle_lacking,
        }
    }
}

/// Waits for the next reason to look at the files, and until they are quiet.
async fn settled(watch: &Watch, tree: &Tree, options: &FileOptions) -> Touched {
    let compare = if watch.works() {
        options.compare_every
    } else {
        COMPARE_UNWATCHED.min(options.compare_every)
    };
    let compare_at = Instant::now() + compare;
    let again = tree.doubt_due();
    let open = watch.open_until(options.longest_open);
    let wait = [again, open]
        .into_iter()
        .flatten()
        .fold(compare_at, Instant::min);
    if time::timeout_at(wait, watch.touched()).await.is_ok() {
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
    }
    let mut touched = watch.take(options.longest_open);
    if wait == compare_at && compare_at <= Instant::now() {
        touched.everything = true;
    }
    // Events of a file in doubt only renew the doubt if its version differs, so it is looked at whenever others are.
    touched.paths.extend(tree.in_doubt());
    touched
}
