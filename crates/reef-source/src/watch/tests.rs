//! Tests of what is made of the kernel's events.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::{Touched, Watch};

/// Long enough that no file counts as whole by waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes until `done` holds of everything taken so far.
async fn until(watch: &Watch, patience: Duration, done: impl Fn(&Touched) -> bool) -> Touched {
    let mut all = Touched::default();
    for _ in 0..500 {
        let Touched {
            paths,
            everything,
            writing,
        } = watch.take(patience);
        all.paths.extend(paths);
        all.everything |= everything;
        all.writing = writing;
        if done(&all) {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to that: {all:?}")
}

fn watched() -> (TempDir, Watch) {
    let dir = TempDir::new().unwrap();
    let mut watch = Watch::new(true);
    watch.add(dir.path());
    assert!(watch.works());
    (dir, watch)
}

#[tokio::test]
async fn file_comes_when_it_is_closed_and_not_before() {
    let (dir, watch) = watched();
    let path = dir.path().join("a.yaml");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"a: 1\n").unwrap();
    let open = until(&watch, PATIENCE, |t| t.writing.contains(&path)).await;
    assert_eq!(open.paths, BTreeSet::<PathBuf>::new());
    drop(file);
    let closed = until(&watch, PATIENCE, |t| t.paths.contains(&path)).await;
    assert_eq!(closed.writing, BTreeSet::<PathBuf>::new());
}

#[tokio::test]
async fn file_kept_open_comes_when_patience_ends() {
    let (dir, watch) = watched();
    let path = dir.path().join("a.yaml");
    let _file = fs::File::create(&path).unwrap();
    let patience = Duration::from_millis(200);
    until(&watch, patience, |t| t.writing.contains(&path)).await;
    assert!(watch.open_until(patience).is_some());
    until(&watch, patience, |t| t.paths.contains(&path)).await;
    assert_eq!(watch.open_until(patience), None);
}

#[tokio::test]
async fn renames_and_links_are_whole_at_once() {
    let (dir, watch) = watched();
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("x"), "x: 1\n").unwrap();
    let (moved, link) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    fs::rename(outside.path().join("x"), &moved).unwrap();
    std::os::unix::fs::symlink("a.yaml", &link).unwrap();
    let all = until(&watch, PATIENCE, |t| t.paths.len() == 2).await;
    assert_eq!(all.paths, BTreeSet::from([moved, link]));
    assert_eq!(all.writing, BTreeSet::<PathBuf>::new());
}

#[tokio::test]
async fn reading_touches_nothing() {
    let (dir, watch) = watched();
    let path = dir.path().join("a.yaml");
    fs::write(&path, "a: 1\n").unwrap();
    until(&watch, PATIENCE, |t| t.paths.contains(&path)).await;
    fs::read(&path).unwrap();
    let last = dir.path().join("last.yaml");
    fs::write(&last, "").unwrap();
    let all = until(&watch, PATIENCE, |t| t.paths.contains(&last)).await;
    assert_eq!(all.paths, BTreeSet::from([last]));
}

/// The kernel keeps 16,384 events by default and then tells only that it lost some.
#[tokio::test]
async fn overflow_of_the_kernels_queue_asks_for_everything() {
    let (dir, watch) = watched();
    let (a, b) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    {
        let _blocked = watch.gathered.state.lock();
        // Equal events one after the other would be merged by the kernel.
        for _ in 0..10_000 {
            fs::write(&a, "").unwrap();
            fs::write(&b, "").unwrap();
        }
    }
    let all = until(&watch, PATIENCE, |t| t.everything).await;
    assert!(all.everything);
}
