//! How long each stage may take on two cores with nothing cached.

use std::time::Duration;

/// What `cargo xtask test` may take in all, in seconds.
#[cfg(test)]
const IN_ALL: u64 = 75 * 60;

/// Seconds of each stage of `cargo xtask test`. A quiet machine of two cores needs two thirds of most; what starts servers is
/// slower on a busy one.
const STAGES: [(&str, u64); 18] = [
    ("packages", 60),
    ("kube-tools", 660),
    ("fmt", 10),
    ("tidy", 10),
    ("layers", 10),
    ("generated", 20),
    ("chart", 20),
    ("deny", 20),
    ("clippy", 420),
    ("tests", 630),
    ("docs", 120),
    ("goldens", 90),
    ("repeats", 120),
    ("e2e", 360),
    ("kube", 660),
    ("fuzz", 420),
    ("release", 840),
    ("image", 10),
];

/// Seconds of a stage that is no part of it.
const IMAGES: (&str, u64) = ("images", 300);

/// The budget of a stage; nothing for one without, so that its line tells.
pub(super) fn of(stage: &str) -> Duration {
    let mut all = STAGES.iter().chain([&IMAGES]);
    let found = all.find(|(name, _)| *name == stage);
    Duration::from_secs(found.map_or(0, |(_, seconds)| *seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_fit_into_the_time_of_a_run() {
        let sum: u64 = STAGES.iter().map(|(_, seconds)| seconds).sum();
        assert!(sum <= IN_ALL, "{sum} s");
        assert_eq!(of("kube"), Duration::from_secs(660));
        assert_eq!(of("unknown"), Duration::ZERO);
    }
}
