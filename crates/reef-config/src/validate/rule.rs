//! What a rule of validation is, and how a file declares those it checks.

use crate::kind::Kind;
use crate::problem::{Problem, Severity};

/// One thing that is checked. Every rule has a row in `docs/validation.md`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Reef's stable name, such as `vs-weights-zero`.
    pub name: &'static str,
    /// The code of the same finding in `istioctl analyze`, where Istio has one.
    pub istio: Option<&'static str>,
    /// The kinds of objects it is about; its test documents are of the first one.
    pub kinds: &'static [Kind],
    /// What follows; an error refuses the object.
    pub severity: Severity,
    /// What must hold and why, in one sentence without a final dot.
    pub summary: &'static str,
}

impl Rule {
    /// The code a [`Problem`] has: Istio's, else the rule's own name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.istio.unwrap_or(self.name)
    }

    /// A problem that says this rule is broken.
    #[must_use]
    pub fn problem(&'static self, reason: impl Into<String>) -> Problem {
        Problem::new(self.severity, self.code(), reason).by_rule(self)
    }
}

/// Declares the rules of a file: `KINDS; Severity [(code)] NAME "rule-name" "summary";` each.
///
/// Without a code an error has `IST0106` (a schema error) and a warning `IST0133`, as what istiod's webhook
/// says has in `istioctl analyze`; `(own)` marks a rule Istio lacks.
#[macro_export]
#[doc(hidden)]
macro_rules! validation_rules {
    ($kinds:expr; $($severity:ident $(($code:tt))? $name:ident $text:literal $summary:literal;)*) => {
        $(
            #[doc = $summary]
            pub(crate) static $name: $crate::validate::Rule = $crate::validate::Rule {
                name: $text,
                istio: $crate::validation_rules!(@code $severity $($code)?),
                kinds: &$kinds,
                severity: $crate::Severity::$severity,
                summary: $summary,
            };
        )*
        /// Every rule of this file.
        pub(crate) static RULES: &[&$crate::validate::Rule] = &[$(&$name),*];
    };
    (@code $severity:ident own) => { None };
    (@code Error) => { Some("IST0106") };
    (@code Warning) => { Some("IST0133") };
    (@code $severity:ident $code:literal) => { Some($code) };
}
