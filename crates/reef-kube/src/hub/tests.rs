//! How batches are made.

use reef_config::{ClusterId, Severity};

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
        Change::MeshNetworks(_) => "networks".to_owned(),
    };
    batch.changes.iter().map(told).collect()
}

const LONGEST: Duration = Duration::from_secs(75);

fn hub(kinds: &[Kind]) -> Hub {
    let readings = watch::Sender::new(None);
    Hub::new(kinds.iter().copied().collect(), Times::default(), readings)
}

fn contact(kind: Kind, history: u64, contact: Contact) -> Told {
    Told::Contact {
        kind,
        history,
        contact,
    }
}

fn listed(kind: Kind, gone: Vec<Change>) -> Told {
    contact(kind, 0, Contact::Listed(gone))
}

#[tokio::test]
async fn first_batch_has_everything_and_comes_after_the_last_list() {
    let now = Instant::now();
    let mut hub = hub(&[Kind::Namespace, Kind::Pod]);
    hub.take(Told::Changes(vec![apply("a"), apply("b")]), now);
    hub.take(listed(Kind::Namespace, Vec::new()), now);
    assert!(!hub.awaited.is_empty());
    hub.take(listed(Kind::Pod, Vec::new()), now);
    assert!(hub.awaited.is_empty());
    let batch = hub.batch();
    assert!(batch.synced);
    assert_eq!(told(&batch), ["+a", "+b"]);
}

/// A hub of kinds that were listed, and when that was.
fn synced(kinds: &[Kind]) -> (Hub, Instant) {
    let now = Instant::now();
    let mut hub = hub(kinds);
    for kind in kinds {
        hub.take(listed(*kind, Vec::new()), now);
    }
    hub.batch();
    (hub, now)
}

/// What is told at a time.
fn at(hub: &mut Hub, time: Instant) -> Vec<String> {
    if hub.due().is_some_and(|due| due <= time) {
        hub.pass(time);
    }
    if hub.paused_until.is_some() {
        return Vec::new();
    }
    told(&hub.batch())
}

const SECOND: Duration = Duration::from_secs(1);
const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn last_word_on_each_object_is_told_once() {
    let (mut hub, now) = synced(&[Kind::Namespace]);
    let problem = Problem::new(Severity::Error, "code", "reason");
    let problems = |problems| Change::Problems {
        source: "s".into(),
        problems,
    };
    let mut tell = |changes| hub.take(Told::Changes(changes), now);
    tell(vec![apply("a"), problems(vec![problem])]);
    tell(vec![delete("a"), apply("b"), delete("c")]);
    tell(vec![apply("c"), problems(Vec::new())]);
    assert_eq!(told(&hub.batch()), ["-a", "+b", "+c", "!s 0"]);
    assert!(hub.waiting.is_empty());
}

#[tokio::test]
async fn deletions_of_one_list_are_told_after_a_short_grace() {
    let (mut hub, now) = synced(&[Kind::Namespace, Kind::Pod]);
    hub.take(contact(Kind::Namespace, 0, Contact::Lost), now);
    hub.take(Told::Changes(vec![apply("c")]), now);
    let gone = vec![delete("a"), delete("b")];
    hub.take(listed(Kind::Namespace, gone), now);
    // What is new is told, what came back is not gone.
    hub.take(Told::Changes(vec![apply("b")]), now);
    assert_eq!(at(&mut hub, now), ["+b", "+c"]);
    assert_eq!(at(&mut hub, now + GRACE / 2), NOTHING);
    assert_eq!(at(&mut hub, now + GRACE), ["-a"]);
    assert_eq!(hub.due(), None);
}

#[tokio::test]
async fn deletions_of_a_list_wait_until_every_lost_kind_is_listed_or_watched() {
    let (mut hub, now) = synced(&[Kind::Namespace, Kind::Pod, Kind::Service]);
    hub.take(contact(Kind::Namespace, 0, Contact::Lost), now);
    hub.take(listed(Kind::Namespace, vec![delete("a")]), now);
    hub.take(contact(Kind::Pod, 0, Contact::Lost), now);
    hub.take(contact(Kind::Service, 0, Contact::Lost), now);
    let later = now + 20 * SECOND;
    assert_eq!(at(&mut hub, later), NOTHING);
    hub.take(contact(Kind::Service, 0, Contact::Watching), later);
    assert_eq!(at(&mut hub, later + 2 * SECOND), NOTHING);
    let listed_at = later + 3 * SECOND;
    hub.take(listed(Kind::Pod, vec![delete("p")]), listed_at);
    assert_eq!(at(&mut hub, listed_at), NOTHING);
    assert_eq!(at(&mut hub, listed_at + GRACE), ["-a", "-p"]);
}

#[tokio::test]
async fn kind_that_stays_away_is_not_waited_for_for_ever() {
    let (mut hub, now) = synced(&[Kind::Namespace, Kind::Pod]);
    assert_eq!(hub.longest, LONGEST);
    hub.take(contact(Kind::Pod, 0, Contact::Lost), now);
    hub.take(listed(Kind::Namespace, vec![delete("a")]), now + SECOND);
    assert_eq!(at(&mut hub, now + LONGEST - SECOND), NOTHING);
    assert_eq!(at(&mut hub, now + LONGEST), ["-a"]);
    // By now nobody expects it.
    let later = now + 10 * LONGEST;
    hub.take(listed(Kind::Namespace, vec![delete("b")]), later);
    assert_eq!(at(&mut hub, later + GRACE), ["-b"]);
    // Nor does one that comes and goes hold up others for longer.
    hub.take(listed(Kind::Pod, Vec::new()), later);
    hub.take(listed(Kind::Namespace, vec![delete("c")]), later);
    for second in 0..75 {
        let time = later + second * SECOND;
        hub.take(contact(Kind::Pod, 0, Contact::Lost), time);
        assert_eq!(at(&mut hub, time), NOTHING);
        hub.take(contact(Kind::Pod, 0, Contact::Watching), time + SECOND / 2);
    }
    assert_eq!(at(&mut hub, later + LONGEST), ["-c"]);
}

#[tokio::test]
async fn new_history_is_one_batch_once_every_kind_was_listed_in_it() {
    let kinds = [Kind::Namespace, Kind::Pod, Kind::Service, Kind::Sidecar];
    let (mut hub, now) = synced(&kinds);
    let absent = contact(Kind::Sidecar, 0, Contact::Absent(Vec::new()));
    hub.take(absent, now);
    // A list of the old history counts for nothing in the new one.
    hub.take(listed(Kind::Pod, vec![delete("p")]), now);
    hub.take(contact(Kind::Namespace, 1, Contact::Lost), now);
    hub.take(Told::Changes(vec![apply("new")]), now);
    let in_new = |kind, gone| contact(kind, 1, Contact::Listed(gone));
    hub.take(in_new(Kind::Namespace, vec![delete("a")]), now);
    hub.take(in_new(Kind::Service, vec![delete("s")]), now);
    hub.take(contact(Kind::Pod, 0, Contact::Watching), now);
    hub.take(listed(Kind::Pod, Vec::new()), now);
    assert_eq!(at(&mut hub, now + 5 * SECOND), NOTHING);
    hub.take(in_new(Kind::Pod, Vec::new()), now + 6 * SECOND);
    assert_eq!(at(&mut hub, now + 6 * SECOND), ["-a", "+new", "-p", "-s"]);
    assert!(hub.behind.is_empty() && hub.due().is_none());
}

#[tokio::test]
async fn new_history_holds_up_news_for_seconds_and_deletions_for_longer() {
    let (mut hub, now) = synced(&[Kind::Namespace, Kind::Pod]);
    hub.take(contact(Kind::Namespace, 1, Contact::Lost), now);
    hub.take(Told::Changes(vec![apply("new")]), now);
    let gone = contact(Kind::Namespace, 1, Contact::Listed(vec![delete("a")]));
    hub.take(gone, now);
    assert_eq!(at(&mut hub, now + PAUSE - SECOND), NOTHING);
    assert_eq!(at(&mut hub, now + PAUSE), ["+new"]);
    assert_eq!(at(&mut hub, now + LONGEST - SECOND), NOTHING);
    assert_eq!(at(&mut hub, now + LONGEST), ["-a"]);
}
