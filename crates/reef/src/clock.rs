//! The wall clock, read in one place, and how its time is shown.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, on the clock that never goes back.
#[expect(clippy::disallowed_methods, reason = "the binary is where time enters")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Now, as people tell it.
#[expect(clippy::disallowed_methods, reason = "the binary is where time enters")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// RFC 3339 in UTC with milliseconds; a time before 1970 is shown as 1970.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second, milli) = (
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis(),
    );
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day is the last of its year, and in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
