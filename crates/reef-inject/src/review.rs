//! The messages of admission webhooks: `AdmissionReview` of `admission.k8s.io/v1`, there and back.
//!
//! ```text
//! body ──mutate────► the pod's patch, or why it has none
//! body ──validate──► what `reef check` finds in the object: errors deny it, warnings are shown
//! ```
//!
//! A body that is no review is an error, for which a server answers 400; everything in a review has an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reef_config::{Origin, Problem, Severity, parse};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Decision, MeshSays, Place, Settings, inject};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Longest warning the API server passes on without cutting it.
const LONGEST_WARNING: usize = 256;
/// Most of them; together they stay below the 4 kB the API server passes on.
const MOST_WARNINGS: usize = 15;
/// A message of several problems ends after this many.
const MOST_PROBLEMS: usize = 20;

/// An answer to a review.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The body, JSON.
    pub body: Vec<u8>,
    /// What it says, for counting.
    pub outcome: Outcome,
    /// What it is about, for counting.
    pub about: Resource,
}

/// A resource of the API server, as a review names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default)]
pub struct Resource {
    /// Its group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its name, in the plural: `sidecars`.
    pub resource: String,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The object passes and is changed.
    Patched,
    /// The object passes as it is.
    Passed,
    /// The object is refused.
    Denied,
}

/// Why a body is no review.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// It is not JSON of that form.
    #[error("the body is no AdmissionReview: {0}")]
    Syntax(String),
    /// It is something else.
    #[error("{0} is not {API_VERSION} {KIND}")]
    WrongKind(String),
    /// It asks nothing.
    #[error("the review has no request with a uid")]
    NoRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(default)]
    uid: String,
    kind: GroupVersionKind,
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    operation: String,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct GroupVersionKind {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    kind: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
}

/// Answers a review of a pod that is created.
///
/// # Errors
/// [`ReviewError`] if the body is no review.
pub fn mutate(body: &[u8], settings: &Settings) -> Result<Answer, ReviewError> {
    mutate_in_mesh(body, settings, |_, _| None)
}

/// The same, where a mesh can be asked about the proxy of a pod of this namespace with these labels.
///
/// # Errors
/// [`ReviewError`] if the body is no review.
pub fn mutate_in_mesh(
    body: &[u8],
    settings: &Settings,
    mesh: impl FnOnce(&str, &BTreeMap<String, String>) -> Option<MeshSays>,
) -> Result<Answer, ReviewError> {
    let request = request(body)?;
    let GroupVersionKind {
        group,
        version,
        kind,
    } = &request.kind;
    if (group.as_str(), version.as_str(), kind.as_str()) != ("", "v1", "Pod") {
        let message = format!("{group}/{version} {kind} is not v1 Pod");
        return Ok(deny(&request, message, Vec::new()));
    }
    let (true, "CREATE", Some(object)) = (
        request.sub_resource.is_empty(),
        request.operation.as_str(),
        request.object,
    ) else {
        return Ok(pass(&request, Vec::new()));
    };
    let pod: Value = match serde_json::from_str(object.get()) {
        Ok(pod) => pod,
        Err(error) => return Ok(deny(&request, format!("the pod: {error}"), Vec::new())),
    };
    let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    let labels: BTreeMap<String, String> = labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let says = mesh(&request.namespace, &labels);
    let place = Place {
        namespace: Some(&request.namespace),
        mesh: says.as_ref(),
        ..Place::default()
    };
    Ok(match inject(&pod, &place, settings) {
        Ok(Decision::Skip(_)) => pass(&request, Vec::new()),
        Ok(Decision::Inject(injection)) => {
            let patch = serde_json::to_vec(&injection.patch).unwrap_or_default();
            let response = Response {
                uid: &request.uid,
                allowed: true,
                patch_type: Some("JSONPatch"),
                patch: Some(STANDARD.encode(patch)),
                warnings: shown(injection.warnings),
                ..Response::default()
            };
            answer(response, Outcome::Patched, &request)
        }
        Err(refusal) => deny(&request, format!("no sidecar: {refusal}"), Vec::new()),
    })
}

/// Answers a review of an object of Istio, by the rules of `reef check` for single objects.
///
/// # Errors
/// [`ReviewError`] if the body is no review.
pub fn validate(body: &[u8]) -> Result<Answer, ReviewError> {
    let request = request(body)?;
    let (true, "CREATE" | "UPDATE", Some(object)) = (
        request.sub_resource.is_empty(),
        request.operation.as_str(),
        request.object,
    ) else {
        return Ok(pass(&request, Vec::new()));
    };
    let origin = Origin {
        path: Arc::from("request"),
        line: 1,
    };
    let completed = completed(object, &request);
    let text = completed.as_deref().unwrap_or(object.get());
    let parsed = parse::object(text, &origin);
    let (errors, others): (Vec<Problem>, Vec<Problem>) = parsed
        .problems
        .into_iter()
        .map(|problem| Problem {
            origin: None,
            object: None,
            ..problem
        })
        .partition(|problem| problem.severity == Severity::Error);
    let warnings = shown(
        others
            .iter()
            .filter(|problem| problem.severity == Severity::Warning)
            .map(ToString::to_string),
    );
    if errors.is_empty() {
        return Ok(pass(&request, warnings));
    }
    let mut told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if told.len() > MOST_PROBLEMS {
        let more = told.len() - MOST_PROBLEMS;
        told.truncate(MOST_PROBLEMS);
        told.push(format!("and {more} more"));
    }
    Ok(deny(&request, told.join("; "), warnings))
}

fn request(body: &[u8]) -> Result<Request<'_>, ReviewError> {
    let review: Review<'_> =
        serde_json::from_slice(body).map_err(|error| ReviewError::Syntax(error.to_string()))?;
    if (review.api_version.as_str(), review.kind.as_str()) != (API_VERSION, KIND) {
        let is = format!("{:?} {:?}", review.api_version, review.kind);
        return Err(ReviewError::WrongKind(is));
    }
    let request = review.request.ok_or(ReviewError::NoRequest)?;
    if request.uid.is_empty() {
        return Err(ReviewError::NoRequest);
    }
    Ok(request)
}

/// The object with a name, where the API server will make one of `generateName`, and with its namespace.
fn completed(object: &RawValue, request: &Request<'_>) -> Option<String> {
    let mut object: Value = serde_json::from_str(object.get()).ok()?;
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let is_set = |value: Option<&Value>| value.is_some_and(|v| v.as_str() != Some(""));
    let (name, namespace) = (
        is_set(metadata.get("name")),
        is_set(metadata.get("namespace")) || request.namespace.is_empty(),
    );
    if name && namespace {
        return None;
    }
    if !name {
        let prefix = metadata.get("generateName").and_then(Value::as_str)?;
        let made = format!("{prefix}x");
        metadata.insert("name".to_owned(), made.into());
    }
    if !namespace {
        metadata.insert("namespace".to_owned(), request.namespace.as_str().into());
    }
    Some(object.to_string())
}

fn pass(request: &Request<'_>, warnings: Vec<String>) -> Answer {
    let response = Response {
        uid: &request.uid,
        allowed: true,
        warnings,
        ..Response::default()
    };
    answer(response, Outcome::Passed, request)
}

fn deny(request: &Request<'_>, message: String, warnings: Vec<String>) -> Answer {
    let response = Response {
        uid: &request.uid,
        allowed: false,
        status: Some(Status {
            code: 422,
            reason: "Invalid",
            message,
        }),
        warnings,
        ..Response::default()
    };
    answer(response, Outcome::Denied, request)
}

fn answer(response: Response<'_>, outcome: Outcome, request: &Request<'_>) -> Answer {
    let reply = Reply {
        api_version: API_VERSION,
        kind: KIND,
        response,
    };
    Answer {
        // Strings and numbers alone: this cannot fail.
        body: serde_json::to_vec(&reply).unwrap_or_default(),
        outcome,
        about: request.resource.clone(),
    }
}

/// Warnings as the API server takes them: not too many, not too long, of printable characters.
fn shown(warnings: impl IntoIterator<Item = String>) -> Vec<String> {
    warnings
        .into_iter()
        .take(MOST_WARNINGS)
        .map(|warning| {
            let plain = warning
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c });
            plain.take(LONGEST_WARNING / 2).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests;
