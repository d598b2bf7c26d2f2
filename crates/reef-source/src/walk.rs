//! Finds the files of a directory tree and stamps them, without opening any.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Deepest nesting of folders that is followed.
const MAX_DEPTH: usize = 32;

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    bytes: u64,
    inode: (u64, u64),
    modified: (i64, i64),
    /// Also changes where the modification time is set back on purpose.
    changed: (i64, i64),
}

impl Stamp {
    /// Whether the file is shorter than it was in `earlier`.
    pub(crate) fn is_shorter_than(&self, earlier: &Self) -> bool {
        self.bytes < earlier.bytes
    }
}

/// The files of a tree by path, and the folders they are in.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: BTreeMap<PathBuf, Stamp>,
    pub(crate) dirs: BTreeSet<PathBuf>,
}

/// Lists a tree. `on_dir` is called for each folder before it is read, so that a watch set there misses nothing.
///
/// Symbolic links are followed, each folder is visited once. Names that begin with a dot are left out: of a
/// ConfigMap mount (`..data`, `..2024_01_01`) the visible links are enough, and editors keep their scratch
/// files there.
///
/// # Errors
/// The top folder can't be read. Of folders below, an unreadable one is treated the same way, since taking it
/// as empty would delete what it holds.
pub(crate) fn list(top: &Path, on_dir: &mut dyn FnMut(&Path)) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut visited = BTreeSet::new();
    let mut todo = vec![(top.to_path_buf(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        let about = match std::fs::metadata(&dir) {
            Ok(about) => about,
            Err(error) if depth > 0 && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if !visited.insert((about.dev(), about.ino())) || depth > MAX_DEPTH {
            continue;
        }
        on_dir(&dir);
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if is_hidden(&path) {
                continue;
            }
            // A dangling or looping link and a file that vanished meanwhile are not there.
            let Ok(about) = std::fs::metadata(&path) else {
                continue;
            };
            if about.is_dir() {
                todo.push((path, depth + 1));
            } else if about.is_file() && is_config(&path) {
                listing.files.insert(path, stamp_of(&about));
            }
        }
        listing.dirs.insert(dir);
    }
    Ok(listing)
}

/// The stamp of one file; `None` if it is not a regular file or not there.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    about.is_file().then(|| stamp_of(&about))
}

/// Whether a file's name says that it holds configuration.
pub(crate) fn is_config(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json")) && !is_hidden(path)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn stamp_of(about: &std::fs::Metadata) -> Stamp {
    Stamp {
        bytes: about.len(),
        inode: (about.dev(), about.ino()),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    }
}
