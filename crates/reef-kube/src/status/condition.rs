//! What the status of an object ought to say, and the patch that makes it say so. Pure.

use std::collections::BTreeMap;

use reef_config::{ObjectKey, Problem, Severity};
use serde_json::{Map, Value, json};

use super::book::Observed;

/// The condition Reef writes: Istio's for "the mesh is as the object says".
pub(super) const TYPE: &str = "Reconciled";

/// Longest message; an Event may have no longer one.
const MESSAGE_CHARS: usize = 1000;

/// What the condition of an object with problems says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the object is in effect, all of it.
    pub(super) in_effect: bool,
    /// The worst problem's code, in camel case.
    pub(super) reason: String,
    /// Every problem, the worst first, as far as there is room.
    pub(super) message: String,
}

impl Verdict {
    /// `status` of the condition.
    pub(super) fn status(&self) -> &'static str {
        if self.in_effect { "True" } else { "False" }
    }
}

/// What is to be said of each Istio object that has problems; other objects have no such status.
pub(super) fn verdicts(problems: &[Problem]) -> BTreeMap<ObjectKey, Verdict> {
    let mut by_object: BTreeMap<&ObjectKey, Vec<&Problem>> = BTreeMap::new();
    for problem in problems {
        let object = problem.object.as_ref();
        if let Some(key) = object.filter(|key| key.kind.is_istio()) {
            by_object.entry(key).or_default().push(problem);
        }
    }
    by_object
        .into_iter()
        .map(|(key, mut problems)| {
            problems.sort();
            problems.dedup_by(|a, b| a.field == b.field && a.reason == b.reason);
            (key.clone(), verdict(&problems))
        })
        .collect()
}

fn verdict(problems: &[&Problem]) -> Verdict {
    let mut message = String::new();
    let mut room = MESSAGE_CHARS;
    for (told, problem) in problems.iter().enumerate() {
        let separator = if told == 0 { "" } else { "; " };
        let text = match problem.field.as_str() {
            "" => problem.reason.clone(),
            field => format!("{field}: {}", problem.reason),
        };
        let length = separator.len() + text.chars().count();
        if length > room {
            let rest = problems.len() - told;
            if told == 0 {
                message = text.chars().take(MESSAGE_CHARS).chain(['…']).collect();
            } else {
                message.push_str(&format!("; and {rest} more"));
            }
            break;
        }
        room -= length;
        message.push_str(separator);
        message.push_str(&text);
    }
    Verdict {
        in_effect: problems
            .iter()
            .all(|problem| problem.severity == Severity::Info),
        reason: problems
            .first()
            .map(|problem| camel(problem.code))
            .unwrap_or_default(),
        message,
    }
}

/// A code as the reason of a condition: `unknown-field` is `UnknownField`.
fn camel(code: &str) -> String {
    let mut reason = String::new();
    let mut upper = true;
    for c in code.chars() {
        if !c.is_ascii_alphanumeric() {
            upper = true;
        } else if upper {
            reason.extend(c.to_uppercase());
            upper = false;
        } else {
            reason.push(c);
        }
    }
    if reason.starts_with(|c: char| c.is_ascii_alphabetic()) {
        reason
    } else {
        format!("Problem{reason}")
    }
}

/// How an object's status differs from what it ought to say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    /// The merge patch.
    pub(super) patch: Value,
    /// Whether people are told something new; a generation alone is no news.
    pub(super) news: bool,
}

/// What to patch; `None` if the status is right.
///
/// Conditions of others stay as they are. The patch names the version it is about, so that it never overwrites what
/// nobody looked at.
pub(super) fn difference(
    observed: &Observed,
    wanted: Option<&Verdict>,
    now: &str,
) -> Option<Difference> {
    let ours = observed.condition();
    let told = ours.map(|condition| {
        let text = |name: &str| condition[name].as_str().unwrap_or_default();
        (text("status"), text("reason"), text("message"))
    });
    let wants = wanted.map(|verdict| {
        let Verdict {
            reason, message, ..
        } = verdict;
        (verdict.status(), reason.as_str(), message.as_str())
    });
    let news = told != wants;
    if !news && (wanted.is_none() || observed.generation_told() == observed.generation) {
        return None;
    }
    if wants.is_none() && !observed.is_ours() {
        // Somebody else's condition of this type.
        return None;
    }
    let mut conditions: Vec<Value> = observed
        .conditions()
        .iter()
        .filter(|condition| condition["type"] != TYPE)
        .cloned()
        .collect();
    let generation = observed.generation;
    let mut status = Map::new();
    if let Some(verdict) = wanted {
        let since = ours
            .filter(|condition| condition["status"] == verdict.status())
            .and_then(|condition| condition["lastTransitionTime"].as_str())
            .unwrap_or(now);
        conditions.push(json!({
            "type": TYPE,
            "status": verdict.status(),
            "reason": verdict.reason,
            "message": verdict.message,
            "lastTransitionTime": since,
            "observedGeneration": generation,
        }));
        status.insert("observedGeneration".to_owned(), json!(generation));
    } else if conditions.is_empty() {
        status.insert("observedGeneration".to_owned(), Value::Null);
    }
    let conditions = match conditions.is_empty() {
        true => Value::Null,
        false => Value::Array(conditions),
    };
    status.insert("conditions".to_owned(), conditions);
    let patch = json!({
        "metadata": {"resourceVersion": &*observed.version},
        "status": status,
    });
    Some(Difference { patch, news })
}
