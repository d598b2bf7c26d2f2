//! What is wrong with an object, told so that a person can find and mend it.

use std::fmt;

use crate::object::{ObjectKey, Origin};
use crate::validate::Rule;

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object (or the file) is not in effect as written; its last good version is kept.
    Error,
    /// The object is in effect, but a part of it is not.
    Warning,
    /// Worth knowing; nothing is lost.
    Info,
}

impl Severity {
    /// Lower-case name for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something wrong with an object or a file. Ordered by severity, then place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where the object was written.
    pub origin: Option<Origin>,
    /// The object, if its identity could be read.
    pub object: Option<ObjectKey>,
    /// The path of the field, such as `spec.http[2].route`; empty if the whole is meant.
    pub field: String,
    /// What is wrong, lower case, without a final dot.
    pub reason: String,
    /// A stable identifier such as `unknown-field` or, where Istio has one, `IST0106`, for filters and metrics.
    pub code: &'static str,
    /// The rule of `docs/validation.md` that is broken, if it is one of these.
    pub rule: Option<&'static Rule>,
}

impl Problem {
    /// A problem with everything but code and reason left out.
    #[must_use]
    pub fn new(severity: Severity, code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            severity,
            origin: None,
            object: None,
            field: String::new(),
            reason: reason.into(),
            code,
            rule: None,
        }
    }

    /// An [`Severity::Error`].
    #[must_use]
    pub fn error(code: &'static str, reason: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, reason)
    }

    /// A [`Severity::Warning`].
    #[must_use]
    pub fn warning(code: &'static str, reason: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, reason)
    }

    /// The same problem, found by this rule of `docs/validation.md`.
    #[must_use]
    pub fn by_rule(mut self, rule: &'static Rule) -> Self {
        self.rule = Some(rule);
        self
    }

    /// The same problem, of this object.
    #[must_use]
    pub fn of(mut self, object: &ObjectKey) -> Self {
        self.object = Some(object.clone());
        self
    }

    /// The same problem, at this place.
    #[must_use]
    pub fn at(mut self, origin: &Origin) -> Self {
        self.origin = Some(origin.clone());
        self
    }

    /// The same problem, in this field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }
}

impl fmt::Display for Problem {
    /// `file:line: Kind namespace/name: field: reason`, without the parts that are unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}
