//! Times with known names.

use super::*;

#[test]
fn times_are_shown_as_the_calendar_has_them() {
    let check = |seconds: u64, shown: &str| {
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), shown);
    };
    check(0, "1970-01-01T00:00:00.000Z");
    check(951_782_399, "2000-02-28T23:59:59.000Z");
    check(951_782_400, "2000-02-29T00:00:00.000Z");
    check(951_868_800, "2000-03-01T00:00:00.000Z");
    check(1_763_735_297, "2025-11-21T14:28:17.000Z");
    check(4_107_542_400, "2100-03-01T00:00:00.000Z");
}
