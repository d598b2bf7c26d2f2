//! Live problems and those of a check, as one.

use reef_config::{Kind, Origin};

use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::VirtualService, "shop", name)
}

fn problem(name: &str, reason: &str) -> Problem {
    Problem::warning("IST0101", reason).of(&key(name))
}

fn at(begin: Instant, seconds: u64) -> Instant {
    begin + Duration::from_secs(seconds)
}

fn reported(problems: &[Problem], at: Instant, revision: u64) -> Reported {
    Reported {
        problems: problems.into(),
        at,
        revision,
    }
}

fn checked(problems: &[Problem], at: Instant, revision: u64) -> Checked {
    Checked {
        problems: problems.into(),
        at,
        revision,
        term: 1,
    }
}

/// What is said of an object: its message, nothing, or that nobody knows.
fn says(wanted: &Wanted, name: &str, seen: Instant) -> Option<String> {
    match wanted.of(&key(name), seen) {
        Opinion::Unknown => None,
        Opinion::Wants(verdict) => Some(verdict.map_or(String::new(), |v| v.message.clone())),
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn problems_of_both_are_told_each_once() {
    let begin = Instant::now();
    let mut wanted = Wanted::default();
    assert_eq!(says(&wanted, "web", begin), None);
    let origin = Origin {
        path: Arc::from("shop.yaml"),
        line: 7,
    };
    let live = [
        problem("web", "a").at(&origin),
        problem("web", "b"),
        problem("only-live", "c"),
    ];
    let other = [
        problem("web", "a"),
        problem("web", "d"),
        problem("elsewhere", "e"),
    ];
    wanted.take(&reported(&live, at(begin, 1), 1), None);
    assert_eq!(says(&wanted, "elsewhere", begin), text(""));
    wanted.take(
        &reported(&live, at(begin, 1), 1),
        Some(&checked(&other, at(begin, 2), 1)),
    );
    assert_eq!(says(&wanted, "web", begin), text("b; d; a"));
    assert_eq!(says(&wanted, "only-live", begin), text("c"));
    assert_eq!(says(&wanted, "elsewhere", begin), text("e"));
    let names: Vec<&str> = wanted.objects().map(|key| &*key.name).collect();
    assert_eq!(names, ["elsewhere", "only-live", "web"]);

    // The check counts no more.
    wanted.take(&reported(&live, at(begin, 1), 1), None);
    assert_eq!(says(&wanted, "web", begin), text("b; a"));
    assert_eq!(says(&wanted, "elsewhere", begin), text(""));
    wanted.clear();
    assert!(!wanted.is_told() && !wanted.is_checked());
    assert_eq!(wanted.objects().count(), 0);
}

#[test]
fn a_check_says_nothing_of_an_object_that_changed_since() {
    let begin = Instant::now();
    let mut wanted = Wanted::default();
    let check = checked(&[problem("web", "elsewhere")], at(begin, 10), 1);
    wanted.take(&reported(&[], at(begin, 11), 1), Some(&check));
    assert_eq!(says(&wanted, "web", begin), text("elsewhere"));
    // As nothing but endpoints differs, it speaks of what was seen later, too.
    wanted.take(&reported(&[], at(begin, 20), 1), Some(&check));
    assert_eq!(says(&wanted, "web", at(begin, 19)), text("elsewhere"));

    // It changed, perhaps mended: nobody knows. Others that changed and had nothing are left with nothing.
    wanted.take(&reported(&[], at(begin, 31), 2), Some(&check));
    assert_eq!(says(&wanted, "web", at(begin, 30)), None);
    assert_eq!(says(&wanted, "cart", at(begin, 30)), text(""));
    // One that did not is still wrong.
    assert_eq!(says(&wanted, "web", at(begin, 3)), text("elsewhere"));
    // A change that was on its way when all seemed to be checked.
    assert_eq!(says(&wanted, "web", at(begin, 18)), None);
    // What is known live is told at once, alone.
    wanted.take(
        &reported(&[problem("web", "live")], at(begin, 32), 2),
        Some(&check),
    );
    assert_eq!(says(&wanted, "web", at(begin, 30)), text("live"));

    // The next check knows.
    let next = checked(&[], at(begin, 40), 2);
    wanted.take(&reported(&[], at(begin, 32), 2), Some(&next));
    assert_eq!(says(&wanted, "web", at(begin, 30)), text(""));
}

#[test]
fn what_was_reported_before_an_object_was_seen_says_nothing_of_it() {
    let begin = Instant::now();
    let mut wanted = Wanted::default();
    let check = checked(&[problem("web", "elsewhere")], at(begin, 5), 1);
    wanted.take(&reported(&[], at(begin, 2), 1), Some(&check));
    assert_eq!(says(&wanted, "web", at(begin, 3)), None);
    assert_eq!(says(&wanted, "web", at(begin, 2)), text("elsewhere"));
}
