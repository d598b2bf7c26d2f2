//! Sources at work: edits, bursts, half-written files, and the end.

use tokio::sync::mpsc;

use super::*;

/// Receives until `done` holds for all changes so far, within a generous time.
async fn receive_until(
    batches: &mut mpsc::Receiver<ChangeBatch>,
    mut done: impl FnMut(&ChangeBatch) -> bool,
) -> usize {
    let wait = async {
        let mut count = 0;
        while let Some(batch) = batches.recv().await {
            count += 1;
            if done(&batch) {
                return count;
            }
        }
        panic!("the source ended after {count} batches");
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the change was never told")
}

fn applies(batch: &ChangeBatch, name: &str) -> bool {
    batch
        .changes
        .iter()
        .any(|c| matches!(c, Change::Apply(o) if &*o.key.name == name))
}

fn start(
    dir: &Path,
) -> (
    mpsc::Receiver<ChangeBatch>,
    impl Future<Output = ()> + use<>,
) {
    start_with(dir, FileOptions::default())
}

fn start_with(
    dir: &Path,
    options: FileOptions,
) -> (
    mpsc::Receiver<ChangeBatch>,
    impl Future<Output = ()> + use<>,
) {
    let (sender, receiver) = mpsc::channel(4);
    let source = FileSource::new(vec![dir.to_path_buf()], None, options);
    (receiver, source.run(sender))
}

fn deletes(batch: &ChangeBatch, name: &str) -> bool {
    batch
        .changes
        .iter()
        .any(|c| matches!(c, Change::Delete(key) if &*key.name == name))
}

/// Receives until an object named `name` is applied; nothing may be deleted until then.
async fn applied_without_loss(batches: &mut mpsc::Receiver<ChangeBatch>, name: &str) {
    receive_until(batches, |batch| {
        let lost = batch.changes.iter().any(|c| matches!(c, Change::Delete(_)));
        assert!(!lost, "lost something: {batch:?}");
        applies(batch, name)
    })
    .await;
}

#[tokio::test]
async fn source_follows_edits_new_folders_and_bursts() {
    let f = Fixture::new();
    f.write("a.yaml", &entry("a", "a.io"));
    let (mut batches, run) = start(&f.path(""));
    let test = async {
        receive_until(&mut batches, |b| b.synced && applies(b, "a")).await;
        f.write("a.yaml", &entry("a", "a2.io"));
        receive_until(&mut batches, |b| applies(b, "a")).await;
        f.write("new/folder/b.yaml", &entry("b", "b.io"));
        receive_until(&mut batches, |b| applies(b, "b")).await;
        f.write("new/folder/c.yaml", &entry("c", "c.io"));
        receive_until(&mut batches, |b| applies(b, "c")).await;
        for i in 0..1000 {
            f.write(&format!("burst/{i}.yaml"), &entry(&format!("n{i}"), "n.io"));
        }
        let mut seen = BTreeSet::new();
        let count = receive_until(&mut batches, |b| {
            for change in &b.changes {
                if let Change::Apply(object) = change {
                    seen.insert(object.key.clone());
                }
            }
            seen.len() >= 1000
        })
        .await;
        assert!(count < 60, "1000 files came in {count} batches");
        drop(batches);
    };
    let ((), ()) = tokio::join!(run, test);
}

#[tokio::test]
async fn file_caught_half_written_deletes_nothing() {
    use std::io::Write as _;
    let f = Fixture::new();
    let (first, second) = (entry("a", "a.io"), entry("b", "b.io"));
    f.write("a.yaml", &two(&first, &second));
    f.write("other.yaml", &entry("other", "o.io"));
    let (mut batches, run) = start(&f.path(""));
    let test = async {
        receive_until(&mut batches, |b| applies(b, "b")).await;
        // Truncated to a shorter, valid file, and left like that for longer than any other wait of the source.
        let mut file = fs::File::create(f.path("a.yaml")).unwrap();
        file.write_all(first.as_bytes()).unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
        // Another file shows that the source looked meanwhile.
        f.write("other.yaml", &entry("other", "o2.io"));
        applied_without_loss(&mut batches, "other").await;
        file.write_all(format!("---\n{}", entry("b", "b2.io")).as_bytes())
            .unwrap();
        drop(file);
        applied_without_loss(&mut batches, "b").await;
        // In two goes, closed in between, but at once.
        fs::write(f.path("a.yaml"), &first).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        fs::write(f.path("a.yaml"), two(&first, &entry("b", "b3.io"))).unwrap();
        applied_without_loss(&mut batches, "b").await;
        // A version that stays is believed.
        fs::write(f.path("a.yaml"), &first).unwrap();
        receive_until(&mut batches, |b| deletes(b, "b")).await;
        fs::remove_file(f.path("a.yaml")).unwrap();
        receive_until(&mut batches, |b| deletes(b, "a")).await;
        drop(batches);
    };
    let ((), ()) = tokio::join!(run, test);
}

#[tokio::test]
async fn without_the_kernels_help_files_are_compared() {
    let f = Fixture::new();
    f.write("a.yaml", &two(&entry("a", "a.io"), &entry("b", "b.io")));
    f.write("gone.yaml", &entry("gone", "g.io"));
    let options = FileOptions {
        watch: false,
        compare_every: Duration::from_millis(50),
        ..FileOptions::default()
    };
    let (mut batches, run) = start_with(&f.path(""), options);
    let test = async {
        receive_until(&mut batches, |b| applies(b, "a")).await;
        f.write("a.yaml", &two(&entry("a", "a2.io"), &entry("b", "b.io")));
        f.write("new/n.yaml", &entry("n", "n.io"));
        let mut seen = BTreeSet::new();
        receive_until(&mut batches, |b| {
            seen.extend(["a", "n"].into_iter().filter(|name| applies(b, name)));
            seen.len() == 2
        })
        .await;
        fs::remove_file(f.path("gone.yaml")).unwrap();
        receive_until(&mut batches, |b| deletes(b, "gone")).await;
        // Seen half written by several comparisons.
        fs::write(f.path("a.yaml"), entry("a", "a2.io")).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        fs::write(
            f.path("a.yaml"),
            two(&entry("a", "a2.io"), &entry("b", "b2.io")),
        )
        .unwrap();
        applied_without_loss(&mut batches, "b").await;
        drop(batches);
    };
    let ((), ()) = tokio::join!(run, test);
}

#[tokio::test]
async fn source_ends_when_nobody_listens() {
    let f = Fixture::new();
    let (batches, run) = start(&f.path(""));
    drop(batches);
    tokio::time::timeout(Duration::from_secs(10), run)
        .await
        .expect("ends by itself");
}

#[tokio::test]
async fn memory_source_emits_what_it_is_given() {
    let (handle, source) = MemorySource::channel();
    let (sender, mut batches) = mpsc::channel(1);
    assert!(
        handle
            .send(ChangeBatch {
                changes: Vec::new(),
                synced: true
            })
            .await
    );
    drop(handle);
    source.run(sender).await;
    assert!(batches.recv().await.unwrap().synced);
    assert!(batches.recv().await.is_none());
}
