//! The set against the one of the standard library.

use std::collections::BTreeSet;

use super::Few;

#[test]
fn it_holds_what_a_set_holds() {
    let (mut few, mut set) = (Few::default(), BTreeSet::new());
    let mut number = 7_u64;
    for _ in 0..2_000 {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let value = number >> 58;
        if number & 1 << 40 == 0 {
            few.insert(value);
            set.insert(value);
        } else {
            few.remove(&value);
            set.remove(&value);
        }
        assert!(few.iter().eq(&set));
        assert_eq!(few.is_empty(), set.is_empty());
        let tens = few.range(|other: &u64| (other / 10).cmp(&(value / 10)));
        assert!(tens.eq(set.iter().filter(|other| *other / 10 == value / 10)));
    }
}

#[test]
fn an_equal_value_takes_the_place_of_the_old_one() {
    /// Equal by the first field only.
    #[derive(Debug)]
    struct Named(u8, &'static str);
    impl PartialEq for Named {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Named {}
    impl PartialOrd for Named {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Named {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
    let mut few = Few::default();
    few.insert(Named(1, "old"));
    few.insert(Named(1, "new"));
    let names: Vec<&str> = few.iter().map(|value| value.1).collect();
    assert_eq!(names, ["new"]);
}
