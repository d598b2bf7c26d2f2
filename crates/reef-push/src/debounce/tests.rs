//! Quiet period, ceiling and reset.

use super::*;

const fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

#[test]
fn waits_for_quiet() {
    let mut debouncer = Debouncer::new(ms(10), ms(100));
    assert_eq!(debouncer.deadline(), None);
    debouncer.event(ms(5));
    debouncer.event(ms(9));
    assert_eq!(debouncer.deadline(), Some(ms(19)));
    assert_eq!(debouncer.take_due(ms(18)), None);
    assert_eq!(debouncer.take_due(ms(19)), Some((2, ms(5))));
    assert!(debouncer.is_idle());
}

#[test]
fn steady_churn_is_cut_at_the_ceiling() {
    let mut debouncer = Debouncer::new(ms(10), ms(100));
    let mut fired = Vec::new();
    for now in (0..400).step_by(5) {
        if debouncer.take_due(ms(now)).is_some() {
            fired.push(now);
        }
        debouncer.event(ms(now));
    }
    assert_eq!(fired, [100, 200, 300]);
}

#[test]
fn a_ceiling_below_the_quiet_period_wins() {
    let mut debouncer = Debouncer::new(ms(50), ms(20));
    debouncer.event(ms(0));
    assert_eq!(debouncer.deadline(), Some(ms(20)));
}

#[test]
fn time_that_goes_back_does_not_shorten_the_wait() {
    let mut debouncer = Debouncer::new(ms(10), ms(100));
    debouncer.event(ms(30));
    debouncer.event(ms(20));
    assert_eq!(debouncer.deadline(), Some(ms(40)));
}

#[test]
fn a_small_event_after_quiet_does_not_wait_and_the_next_does() {
    let mut debouncer = Debouncer::new(ms(10), ms(100));
    debouncer.small_event(ms(5));
    assert_eq!(debouncer.take_due(ms(5)), Some((1, ms(5))));
    debouncer.small_event(ms(6));
    assert_eq!(debouncer.deadline(), Some(ms(16)));
    assert_eq!(debouncer.take_due(ms(16)), Some((1, ms(6))));
    debouncer.small_event(ms(115));
    assert_eq!(debouncer.deadline(), Some(ms(125)), "no ceiling has passed");
    assert_eq!(debouncer.take_due(ms(125)), Some((1, ms(115))));
    debouncer.small_event(ms(225));
    assert_eq!(debouncer.deadline(), Some(ms(225)));
}

#[test]
fn a_small_event_joins_what_waits_and_waits_with_what_joins_it() {
    let mut debouncer = Debouncer::new(ms(10), ms(100));
    debouncer.event(ms(0));
    debouncer.small_event(ms(4));
    assert_eq!(debouncer.deadline(), Some(ms(14)));
    assert_eq!(debouncer.take_due(ms(14)), Some((2, ms(0))));
    debouncer.small_event(ms(200));
    debouncer.event(ms(200));
    assert_eq!(debouncer.deadline(), Some(ms(210)));
}
