//! The state of the directories, and how it follows them: [`Tree::refresh`] tells what differs.
//!
//! No watching here, and no clock: whoever calls decides when.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_config::{Change, ClusterId, Object, ObjectKey, Origin, Problem, parse};
use tokio::time::Instant;

use crate::claims::Claims;
use crate::doubt::{Doubts, Settle, Suspicion};
use crate::file::{self, FileState, Job, Loaded};
use crate::mesh::{self, MeshFile};
use crate::metrics::SourceMetrics;
use crate::walk::{self, Stamp};

/// What to look at, and how sure the caller is of what is there.
#[derive(Debug)]
pub(crate) struct Look<'l> {
    /// Only these paths, if they are all files in known folders; `None` compares all names.
    pub(crate) touched: Option<&'l BTreeSet<PathBuf>>,
    /// Files somebody is writing: they stay as they are.
    pub(crate) writing: &'l BTreeSet<PathBuf>,
    /// When, and how long a doubtful version has to stay; `None` takes everything as it is.
    pub(crate) settle: Option<(Instant, Settle)>,
}

impl Look<'_> {
    /// A look at everything, taken as it is.
    pub(crate) const fn at_once() -> Self {
        static NOBODY: BTreeSet<PathBuf> = BTreeSet::new();
        Self {
            touched: None,
            writing: &NOBODY,
            settle: None,
        }
    }
}

/// What is known of the directories.
#[derive(Debug)]
pub(crate) struct Tree {
    roots: Vec<PathBuf>,
    /// The cluster all objects belong to.
    cluster: ClusterId,
    metrics: SourceMetrics,
    doubts: Doubts,
    mesh_file: Option<MeshFile>,
    /// Folders that were walked, of all roots.
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<Arc<str>, FileState>,
    claims: Claims,
    /// What was last told per source of problems; only those with any.
    told: BTreeMap<Arc<str>, Vec<Problem>>,
}

/// What the next state of one root's files is.
#[derive(Debug, Default)]
struct Next {
    present: BTreeMap<Arc<str>, Stamp>,
    gone: BTreeSet<Arc<str>>,
}

/// What has to be decided once all roots have moved.
#[derive(Debug, Default)]
struct Pending {
    /// Objects that may differ.
    keys: BTreeSet<ObjectKey>,
    /// Versions just parsed, by object and file.
    fresh: BTreeMap<(ObjectKey, Arc<str>), Object>,
    /// Objects whose version in effect is not the one that counts now.
    stale: BTreeSet<ObjectKey>,
}

impl Tree {
    pub(crate) fn new(
        roots: Vec<PathBuf>,
        mesh_file: Option<PathBuf>,
        cluster: ClusterId,
        metrics: SourceMetrics,
    ) -> Self {
        Self {
            roots,
            cluster,
            metrics,
            doubts: Doubts::default(),
            mesh_file: mesh_file.map(MeshFile::new),
            dirs: BTreeSet::new(),
            files: BTreeMap::new(),
            claims: Claims::default(),
            told: BTreeMap::new(),
        }
    }

    /// The folder of the mesh configuration file, which has to be watched too.
    pub(crate) fn mesh_dir(&self) -> Option<PathBuf> {
        let parent = self.mesh_file.as_ref()?.path().parent()?;
        Some(if parent.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            parent.to_path_buf()
        })
    }

    /// Brings the state up to date and tells the differences, problems last.
    ///
    /// `on_dir` is called for each folder that is walked, before it is read.
    pub(crate) fn refresh(
        &mut self,
        look: &Look<'_>,
        on_dir: &mut dyn FnMut(&Path),
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for path in look.writing {
            self.doubts.forget(&name_of(path));
        }
        if let Some(mesh_file) = &mut self.mesh_file
            && !look.writing.contains(mesh_file.path())
        {
            mesh_file.refresh(&mut self.doubts, look.settle, &mut changes);
        }
        let mut stale = BTreeSet::new();
        let mut pending = Pending::default();
        let touched = look.touched.filter(|paths| {
            let mut paths = paths.iter();
            paths.all(|path| self.is_plain_file(path) || self.is_nothing(path))
        });
        for root in self.roots.clone() {
            let next = match touched {
                Some(paths) => Ok(self.next_of(
                    paths
                        .iter()
                        .filter(|path| path.starts_with(&root) && self.is_plain_file(path)),
                )),
                None => self.walk(&root, on_dir).map(|listing| {
                    self.dirs.extend(listing.dirs);
                    self.next_of_listing(&root, listing.files)
                }),
            };
            let frozen = match next {
                Ok(mut next) => {
                    for path in look.writing {
                        let name = name_of(path);
                        next.present.remove(&name);
                        next.gone.remove(&name);
                    }
                    self.advance(&root, next, look.settle, (&mut stale, &mut pending))
                }
                Err(error) => {
                    self.doubts.clear();
                    Some(format!("can't be read: {error}"))
                }
            };
            self.tell_root(&root, frozen, &mut changes);
        }
        self.settle(pending, &mut stale, &mut changes);
        for file in stale {
            let problems = self.problems_of(&file);
            self.tell(file, problems, &mut changes);
        }
        changes
    }

    fn walk(&self, root: &Path, on_dir: &mut dyn FnMut(&Path)) -> std::io::Result<walk::Listing> {
        self.metrics.walks.inc();
        walk::list(root, on_dir)
    }

    /// When a version in doubt can count, if it is still there then.
    pub(crate) fn doubt_due(&self) -> Option<Instant> {
        self.doubts.due()
    }

    /// The files with a version in doubt.
    pub(crate) fn in_doubt(&self) -> BTreeSet<PathBuf> {
        self.doubts.files().collect()
    }

    /// Whether the path is a file in a folder that was walked, so that it can be looked at alone.
    fn is_plain_file(&self, path: &Path) -> bool {
        walk::is_config(path)
            && path
                .parent()
                .is_some_and(|parent| self.dirs.contains(parent))
            && !path.is_dir()
    }

    /// Whether a path that is not a plain file means nothing either: scratch files of editors, other files in the
    /// folders, the mesh configuration. Names with two dots are how ConfigMaps are swapped.
    fn is_nothing(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b"..") {
            return false;
        }
        let is_mesh = |file: &MeshFile| file.path() == path;
        let known_folder = || {
            path.parent()
                .is_some_and(|parent| self.dirs.contains(parent))
        };
        self.mesh_file.as_ref().is_some_and(is_mesh)
            || (known_folder() && name.starts_with(b"."))
            || (known_folder() && !self.dirs.contains(path) && !path.is_dir())
    }

    fn next_of<'p>(&self, paths: impl Iterator<Item = &'p PathBuf>) -> Next {
        let mut next = Next::default();
        for path in paths {
            let name = name_of(path);
            match walk::stamp(path) {
                Some(stamp) => {
                    next.present.insert(name, stamp);
                }
                None => {
                    next.gone.insert(name);
                }
            }
        }
        next
    }

    fn next_of_listing(&self, root: &Path, files: BTreeMap<PathBuf, Stamp>) -> Next {
        let present: BTreeMap<_, _> = files
            .into_iter()
            .map(|(path, stamp)| (name_of(&path), stamp))
            .collect();
        let gone = self
            .files_of(root)
            .filter(|name| !present.contains_key(*name))
            .cloned()
            .collect();
        Next { present, gone }
    }

    fn files_of<'s>(&'s self, root: &'s Path) -> impl Iterator<Item = &'s Arc<str>> {
        self.files
            .keys()
            .filter(move |name| Path::new(&***name).starts_with(root))
    }

    /// Moves one root to its next state, unless that would take away everything at once.
    ///
    /// Returns why the root is frozen, if it is.
    fn advance(
        &mut self,
        root: &Path,
        mut next: Next,
        settle: Option<(Instant, Settle)>,
        (stale, pending): (&mut BTreeSet<Arc<str>>, &mut Pending),
    ) -> Option<String> {
        let jobs = next
            .present
            .iter()
            .filter(|(name, stamp)| {
                self.files
                    .get(*name)
                    .is_none_or(|known| known.stamp != **stamp)
            })
            .map(|(name, stamp)| Job {
                path: Arc::clone(name),
                stamp: *stamp,
                earlier: self.files.get(name),
            })
            .collect();
        let mut loaded = file::load(jobs, &self.cluster, &self.metrics);
        if let Some(at) = settle {
            self.hold_back_doubtful(&mut next, &mut loaded, at);
        }
        if self.would_be_empty(root, &next, &loaded) {
            return Some(format!(
                "all objects vanished at once{}",
                if next.present.is_empty() {
                    ", no file is left"
                } else {
                    ""
                }
            ));
        }
        for name in next.gone {
            if let Some(state) = self.files.remove(&name) {
                for key in state.keys() {
                    self.claims.remove(key, &name);
                    stale.extend(self.claims.files(key));
                    pending.keys.insert(key.clone());
                }
                stale.insert(name);
            }
        }
        for Loaded {
            path,
            state,
            objects,
        } in loaded
        {
            let now = state.winners();
            let before = self
                .files
                .get(&path)
                .map(FileState::winners)
                .unwrap_or_default();
            for key in before.keys().filter(|key| !now.contains_key(*key)) {
                self.claims.remove(key, &path);
                stale.extend(self.claims.files(key));
                pending.keys.insert((*key).clone());
            }
            for (index, object) in objects {
                // Of the same key twice in one file the first document counts.
                if now
                    .get(&object.key)
                    .is_some_and(|(_, winner, _)| *winner == index)
                {
                    pending.keys.insert(object.key.clone());
                    pending
                        .fresh
                        .insert((object.key.clone(), Arc::clone(&path)), object);
                }
            }
            for (key, (hash, _, good)) in now {
                match before.get(key) {
                    None => {
                        self.claims.add(key, &path);
                        stale.extend(self.claims.files(key));
                        pending.keys.insert(key.clone());
                    }
                    // An unchanged document may count only now, because the one before it is gone.
                    Some((earlier, _, _)) if good && *earlier != hash => {
                        pending.keys.insert(key.clone());
                        pending.stale.insert(key.clone());
                    }
                    Some(_) => {}
                }
            }
            stale.insert(Arc::clone(&path));
            self.files.insert(path, state);
        }
        None
    }

    /// Takes out what might be half written, and remembers it.
    fn hold_back_doubtful(
        &mut self,
        next: &mut Next,
        loaded: &mut Vec<Loaded>,
        at: (Instant, Settle),
    ) {
        let (files, doubts) = (&self.files, &mut self.doubts);
        doubts.retain(|file| {
            let as_before = next.present.get(file).is_some_and(|stamp| {
                files
                    .get(file)
                    .is_some_and(|earlier| earlier.stamp == *stamp)
            });
            !as_before
        });
        let arriving: BTreeSet<ObjectKey> = if next.gone.is_empty() {
            BTreeSet::new()
        } else {
            let new = loaded.iter().filter(|l| !files.contains_key(&l.path));
            new.flat_map(|l| l.state.keys().cloned()).collect()
        };
        loaded.retain(|Loaded { path, state, .. }| {
            let Some(earlier) = files.get(path) else {
                doubts.forget(path);
                return true;
            };
            let here: BTreeSet<&ObjectKey> = state.keys().collect();
            let suspicion = if earlier.keys().any(|key| !here.contains(key)) {
                Suspicion::Lacking
            } else if state.stamp.is_shorter_than(&earlier.stamp) {
                Suspicion::Shorter
            } else {
                doubts.forget(path);
                return true;
            };
            doubts.cleared(path, Some(state.stamp), suspicion, at)
        });
        next.gone.retain(|name| {
            // All its objects are in files that are new: it was moved or split, and nothing is lost.
            let moved = files
                .get(name)
                .is_none_or(|state| state.keys().all(|key| arriving.contains(key)));
            if moved {
                doubts.forget(name);
            }
            moved || doubts.cleared(name, None, Suspicion::Lacking, at)
        });
    }

    /// Whether the root had objects and would have none: rather a lost mount than an intention.
    fn would_be_empty(&self, root: &Path, next: &Next, loaded: &[Loaded]) -> bool {
        let has_keys = |state: &FileState| state.keys().next().is_some();
        let had = self
            .files_of(root)
            .any(|name| self.files.get(name).is_some_and(has_keys));
        if !had {
            return false;
        }
        let read: BTreeSet<&Arc<str>> = loaded.iter().map(|l| &l.path).collect();
        let stays = self.files_of(root).any(|name| {
            !next.gone.contains(name)
                && !read.contains(name)
                && self.files.get(name).is_some_and(has_keys)
        });
        !stays && !loaded.iter().any(|l| has_keys(&l.state))
    }

    /// Decides for every object that may differ whose version is in effect.
    fn settle(
        &mut self,
        pending: Pending,
        stale: &mut BTreeSet<Arc<str>>,
        changes: &mut Vec<Change>,
    ) {
        let Pending {
            keys,
            mut fresh,
            stale: outdated,
        } = pending;
        for key in keys {
            let files = self.claims.files(&key);
            if files.is_empty() {
                if self.claims.forget(&key) {
                    if mesh::is_mesh_config(&key) && self.mesh_file.is_none() {
                        mesh::delete_object(&key, changes);
                    }
                    changes.push(Change::Delete(key));
                }
                continue;
            }
            for file in files {
                let same_winner = self.claims.in_effect(&key) == Some(&file);
                let object = fresh.remove(&(key.clone(), Arc::clone(&file))).or_else(|| {
                    if same_winner && !outdated.contains(&key) {
                        None
                    } else {
                        reload(&file, &key, &self.cluster)
                    }
                });
                if let Some(object) = object {
                    self.claims.set_in_effect(&key, &file);
                    stale.insert(Arc::clone(&file));
                    if mesh::is_mesh_config(&key) && self.mesh_file.is_none() {
                        mesh::apply_object(&object, changes);
                    }
                    changes.push(Change::Apply(Arc::new(object)));
                    break;
                }
                if same_winner {
                    break;
                }
            }
        }
    }

    /// Everything wrong with a file, objects that another file wins included.
    fn problems_of(&self, name: &Arc<str>) -> Vec<Problem> {
        let Some(state) = self.files.get(name) else {
            return Vec::new();
        };
        let mut problems: Vec<Problem> = state.problem.iter().cloned().collect();
        let mut here = BTreeSet::new();
        for document in &state.documents {
            problems.extend(document.problems.iter().cloned());
            for key in &document.keys {
                let duplicate = |place: &str| {
                    Problem::error("duplicate", format!("{place} has the same object and wins"))
                        .of(key)
                        .at(&Origin {
                            path: Arc::clone(name),
                            line: document.line(),
                        })
                };
                if !here.insert(key) {
                    problems.push(duplicate("an earlier document of this file"));
                } else if let Some(winner) =
                    self.claims.winner(key).filter(|winner| *winner != name)
                {
                    problems.push(duplicate(winner));
                }
            }
        }
        problems.sort();
        problems
    }

    fn tell_root(&mut self, root: &Path, frozen: Option<String>, changes: &mut Vec<Change>) {
        let source = name_of(root);
        let problems = frozen.map_or_else(Vec::new, |reason| {
            let held = self.files_of(root).next().is_some();
            let reason = if held {
                format!("{reason}; the last state stays in effect until the directory has objects again, or a restart")
            } else {
                reason
            };
            vec![
                Problem::error(parse::code::INPUT, reason)
                    .at(&Origin { path: Arc::clone(&source), line: 0 }),
            ]
        });
        self.tell(source, problems, changes);
    }

    /// Tells the problems of a source if they differ from those told before.
    fn tell(&mut self, source: Arc<str>, problems: Vec<Problem>, changes: &mut Vec<Change>) {
        if self.told.get(&source).map_or(&[][..], Vec::as_slice) == problems.as_slice() {
            return;
        }
        if problems.is_empty() {
            self.told.remove(&source);
        } else {
            self.told.insert(Arc::clone(&source), problems.clone());
        }
        changes.push(Change::Problems { source, problems });
    }
}

/// Reads one object again, because it takes over from another file.
fn reload(file: &str, key: &ObjectKey, cluster: &ClusterId) -> Option<Object> {
    let bytes = std::fs::read(file).ok()?;
    let path: Arc<str> = file.into();
    parse::documents(&bytes)
        .ok()?
        .into_iter()
        .find_map(|document| {
            let origin = Origin {
                path: Arc::clone(&path),
                line: document.line,
            };
            file::parse(document.text, &origin, cluster)
                .objects
                .into_iter()
                .find(|object| object.key == *key)
        })
}

/// A path as it is shown; paths that are not UTF-8 lose what can't be shown, which only matters to people.
fn name_of(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}
