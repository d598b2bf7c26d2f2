//! Numbers only; what is sent is in the golden cases.

use super::least_common_multiple;

#[test]
fn weights_are_multiplied_by_what_all_counts_divide() {
    let of = |counts: &[u32]| counts.iter().copied().fold(1, least_common_multiple);
    assert_eq!(of(&[]), 1);
    assert_eq!(of(&[1, 2, 3]), 6);
    assert_eq!(of(&[4, 6]), 12);
    assert_eq!(
        of(&[u32::MAX, u32::MAX - 1]),
        u32::MAX,
        "it does not overflow"
    );
}
