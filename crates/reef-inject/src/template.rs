//! Pods inside of workloads: Deployments, Jobs, Lists and the like, for the command line.

use json_patch::PatchError;
use serde_json::Value;

use crate::{Decision, Place, Refusal, Settings, Skip, inject};

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `Kind namespace/name`.
    pub object: String,
    /// The reason it stays as it is, if it does.
    pub skip: Option<Skip>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Why an object cannot be injected.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {reason}")]
pub struct TemplateError {
    /// `Kind namespace/name`.
    pub object: String,
    /// What is wrong.
    pub reason: Reason,
}

/// The cause of a [`TemplateError`].
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The pod asks for something impossible.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The patch does not fit, which is an error of this program.
    #[error("the patch does not fit: {0}")]
    Patch(#[from] PatchError),
}

/// Injects the pods of an object in place; whatever has none stays as it is and is not told of.
///
/// `namespace` is the one of objects that name none.
///
/// # Errors
/// [`TemplateError`]; earlier items of a List may be changed by then.
pub fn inject_object(
    object: &mut Value,
    namespace: &str,
    settings: &Settings,
) -> Result<Vec<Told>, TemplateError> {
    let mut told = Vec::new();
    let is_list = |object: &Value| {
        let kind = object["kind"].as_str();
        kind.is_some_and(|kind| kind.ends_with("List")) && object["items"].is_array()
    };
    if is_list(object) {
        let items = object.get_mut("items").and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            told.extend(one(item, namespace, settings)?);
        }
    } else {
        told.extend(one(object, namespace, settings)?);
    }
    Ok(told)
}

fn one(
    object: &mut Value,
    namespace: &str,
    settings: &Settings,
) -> Result<Option<Told>, TemplateError> {
    let Some(path) = template(object) else {
        return Ok(None);
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let metadata = &object["metadata"];
    let name = [text(&metadata["name"]), text(&metadata["generateName"])].concat();
    let own = text(&metadata["namespace"]);
    let namespace = if own.is_empty() { namespace } else { &own };
    let named = format!("{kind} {namespace}/{name}");
    let wrong = |reason: Reason| TemplateError {
        object: named.clone(),
        reason,
    };
    let Some(pod) = object.pointer_mut(path) else {
        let field = path.replace('/', ".").trim_start_matches('.').to_owned();
        let wanted = "an object";
        return Err(wrong(Refusal::Malformed { field, wanted }.into()));
    };
    let place = Place {
        namespace: Some(namespace),
        namespace_labels: None,
        workload: (!path.is_empty()).then_some(name.as_str()),
        mesh: None,
    };
    let decision = inject(pod, &place, settings).map_err(|refusal| wrong(refusal.into()))?;
    let mut told = Told {
        object: named.clone(),
        skip: None,
        warnings: Vec::new(),
    };
    match decision {
        Decision::Skip(skip) => told.skip = Some(skip),
        Decision::Inject(injection) => {
            json_patch::patch(pod, &injection.patch).map_err(|error| wrong(error.into()))?;
            told.warnings = injection.warnings;
        }
    }
    Ok(Some(told))
}

/// Where the pod is in an object of this kind; the object itself may be one.
fn template(object: &Value) -> Option<&'static str> {
    match (object["apiVersion"].as_str()?, object["kind"].as_str()?) {
        ("v1", "Pod") => Some(""),
        ("v1", "ReplicationController")
        | ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch/v1", "Job") => Some("/spec/template"),
        ("batch/v1", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        ("v1", "PodTemplate") => Some("/template"),
        _ => None,
    }
}
