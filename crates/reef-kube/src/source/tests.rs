//! How batches are made.

use reef_config::Severity;

use super::*;

fn apply(name: &str) -> Change {
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let origin = reef_config::Origin::cluster(&ClusterId::default());
    let mut parsed = reef_config::parse::object(&text, &origin);
    Change::Apply(Arc::new(parsed.objects.pop().unwrap()))
}

fn delete(name: &str) -> Change {
    Change::Delete(ObjectKey::new(Kind::Namespace, name, name))
}

fn told(batch: &ChangeBatch) -> Vec<String> {
    let told = |change: &Change| match change {
        Change::Apply(object) => format!("+{}", object.key.name),
        Change::Delete(key) => format!("-{}", key.name),
        Change::Problems { source, problems } => format!("!{source} {}", problems.len()),
        Change::MeshConfig(_) => "mesh".to_owned(),
    };
    batch.changes.iter().map(told).collect()
}

fn hub(kinds: &[Kind]) -> Hub {
    Hub::new(kinds.iter().copied().collect())
}

#[test]
fn first_batch_has_everything_and_comes_after_the_last_list() {
    let mut hub = hub(&[Kind::Namespace, Kind::Pod]);
    hub.take(Told::Changes(vec![apply("a"), apply("b")]));
    hub.take(Told::Listed(Kind::Namespace, Vec::new()));
    assert!(!hub.awaited.is_empty());
    hub.take(Told::Listed(Kind::Pod, Vec::new()));
    assert!(hub.awaited.is_empty());
    let batch = hub.batch();
    assert!(batch.synced);
    assert_eq!(told(&batch), ["+a", "+b"]);
}

fn synced(kinds: &[Kind]) -> Hub {
    let mut hub = hub(kinds);
    for kind in kinds {
        hub.take(Told::Listed(*kind, Vec::new()));
    }
    hub.batch();
    hub
}

#[test]
fn last_word_on_each_object_is_told_once() {
    let mut hub = synced(&[Kind::Namespace]);
    let problem = Problem::new(Severity::Error, "code", "reason");
    let problems = |problems| Change::Problems {
        source: "s".into(),
        problems,
    };
    hub.take(Told::Changes(vec![apply("a"), problems(vec![problem])]));
    hub.take(Told::Changes(vec![delete("a"), apply("b"), delete("c")]));
    hub.take(Told::Changes(vec![apply("c"), problems(Vec::new())]));
    assert_eq!(told(&hub.batch()), ["-a", "+b", "+c", "!s 0"]);
    assert!(hub.waiting.is_empty());
}

#[test]
fn deletions_of_a_list_wait_for_the_other_lists() {
    let mut hub = synced(&[Kind::Namespace, Kind::Pod]);
    hub.take(Told::Relisting(Kind::Namespace));
    hub.take(Told::Relisting(Kind::Pod));
    hub.take(Told::Listed(
        Kind::Namespace,
        vec![delete("a"), delete("b")],
    ));
    assert!(hub.waiting.is_empty() && hub.held_until.is_some());
    // It came back meanwhile.
    hub.take(Told::Changes(vec![apply("b")]));
    assert_eq!(told(&hub.batch()), ["+b"]);
    hub.take(Told::Listed(Kind::Pod, Vec::new()));
    assert_eq!(told(&hub.batch()), ["-a"]);
    assert!(hub.held_until.is_none());
}
