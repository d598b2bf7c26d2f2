//! It is a set, however many there are.

use super::*;

fn all(importers: &Importers) -> Vec<ScopeNo> {
    importers.iter().collect()
}

#[test]
fn scopes_come_and_go() {
    let mut importers = Importers::One(7);
    importers.insert(7);
    assert_eq!(all(&importers), [7]);
    assert!(importers.contains(7) && !importers.contains(3));
    importers.insert(9);
    importers.insert(3);
    assert_eq!(all(&importers), [3, 7, 9]);
    assert!(!importers.remove(7) && !importers.remove(4));
    assert_eq!(all(&importers), [3, 9]);
    assert!(importers.contains(3) && !importers.contains(7));
    assert!(!importers.remove(3));
    assert!(importers.remove(9), "the last one");
}

#[test]
fn only_scope_is_the_last_one() {
    let mut importers = Importers::One(0);
    assert!(!importers.remove(1));
    assert!(importers.remove(0));
}
