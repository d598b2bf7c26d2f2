//! Injection: what a pod needs so that its traffic goes through an Envoy that Reef configures.
//!
//! ```text
//! pod (JSON) + Place + Settings ──inject──► Decision: Inject(patch, warnings) | Skip(reason)
//!                                            └ Err(Refusal): the pod asks for something impossible
//! AdmissionReview ──review──► inject or validate ──► AdmissionReview
//! Deployment, Job, List … ──template::inject──► the same with its pod templates injected
//! ```
//!
//! - [`Settings`]: images, resources and addresses; the same for every pod.
//! - [`inject`]: the decision about one pod, as JSON Patch operations that add to it.
//! - [`template`]: finds the pods inside of workloads, for the command line.
//! - [`review`]: the messages of admission webhooks, mutating and validating.
//!
//! Everything added is a typed object (`k8s`); annotations are read into types (`annotations`) before
//! anything is made of them, so that no text of a pod can become structure. What the pod has and this crate
//! does not know stays as it is, because the answer is a patch. Everything here is pure: no clock, no
//! sockets, no files.

mod annotations;
mod container;
mod k8s;
mod patch;
mod pod;
mod policy;
mod probes;
mod quantity;
pub mod review;
mod settings;
pub mod template;

use json_patch::Patch;
use serde_json::Value;

pub use k8s::{PullPolicy, Resources};
pub use policy::{MeshSays, Place, Skip};
pub use quantity::{Quantity, QuantityError};
pub use settings::{Authority, Settings, SettingsError};

/// Name of the container Envoy runs in; it is Istio's, so that tools find it.
pub const PROXY_CONTAINER: &str = "istio-proxy";

/// The annotation that says what was added; a pod that has it is left alone.
pub const STATUS: &str = "sidecar.istio.io/status";

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It gets a sidecar.
    Inject(Injection),
    /// It stays as it is.
    Skip(Skip),
}

/// How a pod gets its sidecar.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// Operations on the pod.
    pub patch: Patch,
    /// What a person should know about it, a sentence each.
    pub warnings: Vec<String>,
}

/// Why a pod can neither get a sidecar nor be left without one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something in the pod is not what the API says it is.
    #[error("{field} is not {wanted}")]
    Malformed {
        /// Path of the field.
        field: String,
        /// What should be there.
        wanted: &'static str,
    },
    /// An annotation cannot be read.
    #[error("annotation {name}: {reason}")]
    Annotation {
        /// Its name.
        name: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The pod has something of its own under a name the sidecar needs.
    #[error("{what} {name:?} is the pod's own, the sidecar needs that name")]
    NameTaken {
        /// `container` or `volume`.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// Decides about one pod.
///
/// Injecting twice is injecting once: what [`Decision::Inject`] makes is skipped the second time.
///
/// # Errors
/// [`Refusal`], where starting the pod without the sidecar it asks for would be worse than not starting it.
pub fn inject(pod: &Value, place: &Place<'_>, settings: &Settings) -> Result<Decision, Refusal> {
    let pod = pod::Pod::read(pod)?;
    if let Some(skip) = policy::skip(&pod, place, settings) {
        return Ok(Decision::Skip(skip));
    }
    let (wishes, mut warnings) = annotations::Wishes::read(&pod, place, settings)?;
    if wishes.intercept.is_some() && pod.runs_as(container::PROXY_ID) {
        let id = container::PROXY_ID;
        warnings.push(format!(
            "what runs as user {id}, the proxy's own, is not led through the proxy"
        ));
    }
    let mut patch = patch::Builder::default();
    let probes = probes::rewrite(&pod, &wishes, &mut patch, &mut warnings)?;
    container::add(&pod, place, settings, &wishes, &probes, &mut patch)?;
    Ok(Decision::Inject(Injection {
        patch: patch.finish(),
        warnings,
    }))
}

#[cfg(test)]
mod tests;
