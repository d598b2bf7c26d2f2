//! Collects findings; nothing is allocated for an object without any.

use std::fmt;

use super::Rule;
use crate::parse::Path;
use crate::problem::Problem;
use crate::scalar::ApiDuration;

/// Where findings go.
#[derive(Debug)]
pub(super) struct Check<'f> {
    findings: &'f mut Vec<Problem>,
}

/// Longest duration protobuf can say, in seconds: about 10,000 years.
const LONGEST_SECONDS: u64 = 315_576_000_000;

impl<'f> Check<'f> {
    /// Adds to `findings`.
    pub(super) fn new(findings: &'f mut Vec<Problem>) -> Self {
        Self { findings }
    }

    /// Tells that `rule` is broken at `at`.
    pub(super) fn tell(&mut self, rule: &'static Rule, at: &Path<'_>, reason: impl fmt::Display) {
        self.findings
            .push(rule.problem(reason.to_string()).field(at.to_string()));
    }

    /// Tells it if `broken`; for reasons that cost nothing to make.
    pub(super) fn tell_if(
        &mut self,
        broken: bool,
        rule: &'static Rule,
        at: &Path<'_>,
        reason: &str,
    ) {
        if broken {
            self.tell(rule, at, reason);
        }
    }

    /// Tells it if `result` is an error.
    pub(super) fn tell_err<T: fmt::Display>(
        &mut self,
        rule: &'static Rule,
        at: &Path<'_>,
        value: &str,
        result: Result<(), T>,
    ) {
        if let Err(reason) = result {
            self.tell(rule, at, format_args!("{}: {reason}", Shown(value)));
        }
    }

    /// A port number is 1 to 65535.
    pub(super) fn port(&mut self, rule: &'static Rule, at: &Path<'_>, number: u32) {
        if !(1..=65_535).contains(&number) {
            let reason = format_args!("{number} is not a port, which is 1 to 65535");
            self.tell(rule, at, reason);
        }
    }

    /// A duration is at least a millisecond, has no fraction of one, and protobuf can say it.
    pub(super) fn duration(
        &mut self,
        rule: &'static Rule,
        at: &Path<'_>,
        duration: Option<ApiDuration>,
    ) {
        let Some(duration) = duration else { return };
        if duration.as_millis() == 0 {
            self.tell(rule, at, "a duration must be at least 1ms");
        } else if duration.subsec_nanos() % 1_000_000 != 0 {
            self.tell(rule, at, "a duration must be whole milliseconds");
        } else if duration.as_secs() > LONGEST_SECONDS {
            self.tell(rule, at, "a duration must be at most 315576000000s");
        }
    }
}

/// A value in quotes, cut where it would flood a terminal.
#[derive(Debug)]
pub(super) struct Shown<'v>(pub(super) &'v str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 100;
        if self.0.len() <= MOST {
            write!(f, "{:?}", self.0)
        } else {
            let head: String = self.0.chars().take(MOST).collect();
            write!(f, "{head:?}… ({} bytes)", self.0.len())
        }
    }
}
