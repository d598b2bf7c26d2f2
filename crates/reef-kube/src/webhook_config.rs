//! Reef's own two webhook configurations: the certificate by which the API server knows Reef.
//!
//! They are read and patched by their names, nothing else of this kind is looked at. The patch names the webhooks it is
//! about and says nothing of their other fields, so that it takes back nobody's change.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Cluster;

/// Time for both requests together.
const LIMIT: Duration = Duration::from_secs(10);

/// Which kind of configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookKind {
    /// `MutatingWebhookConfiguration`.
    Mutating,
    /// `ValidatingWebhookConfiguration`.
    Validating,
}

/// What became of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaBundle {
    /// There is none of this name.
    Absent,
    /// Every webhook in it has the certificate.
    Unchanged,
    /// Those that lacked it were given it.
    Patched,
}

/// A configuration could not be read or patched.
#[derive(Debug, thiserror::Error)]
pub enum WebhookConfigError {
    /// The API server refuses or does not answer.
    #[error("webhook configuration {name}: {source}")]
    Request {
        /// Its name.
        name: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("webhook configuration {name}: no answer in {} s", LIMIT.as_secs())]
    Late {
        /// Its name.
        name: String,
    },
}

impl Cluster {
    /// Lets the API server trust `ca`, certificates in PEM, for every webhook of a configuration.
    ///
    /// # Errors
    /// If the API server cannot be asked or refuses.
    pub async fn trust_webhooks(
        &self,
        kind: WebhookKind,
        name: &str,
        ca: &str,
    ) -> Result<CaBundle, WebhookConfigError> {
        let client = self.client().clone();
        let patched = async {
            match kind {
                WebhookKind::Mutating => {
                    patch::<MutatingWebhookConfiguration>(&Api::all(client), name, ca).await
                }
                WebhookKind::Validating => {
                    patch::<ValidatingWebhookConfiguration>(&Api::all(client), name, ca).await
                }
            }
        };
        let name = || name.to_owned();
        match tokio::time::timeout(LIMIT, patched).await {
            Ok(patched) => patched.map_err(|source| WebhookConfigError::Request {
                name: name(),
                source: Box::new(source),
            }),
            Err(_elapsed) => Err(WebhookConfigError::Late { name: name() }),
        }
    }
}

async fn patch<K>(api: &Api<K>, name: &str, ca: &str) -> kube::Result<CaBundle>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let Some(found) = api.get_opt(name).await? else {
        return Ok(CaBundle::Absent);
    };
    let found = serde_json::to_value(found).map_err(kube::Error::SerdeError)?;
    let bundle = json!(ByteString(ca.as_bytes().to_vec()));
    let Some(patch) = bundle_patch(&found, &bundle) else {
        return Ok(CaBundle::Unchanged);
    };
    // Webhooks are merged by their names.
    let patch = Patch::Strategic(patch);
    api.patch(name, &PatchParams::default(), &patch).await?;
    Ok(CaBundle::Patched)
}

/// The patch for the webhooks of a configuration that have another bundle; `None` if none has.
fn bundle_patch(configuration: &Value, bundle: &Value) -> Option<Value> {
    let webhooks = configuration["webhooks"].as_array()?;
    let others: Vec<Value> = webhooks
        .iter()
        .filter(|webhook| webhook["clientConfig"]["caBundle"] != *bundle)
        .map(|webhook| json!({ "name": webhook["name"], "clientConfig": { "caBundle": bundle } }))
        .collect();
    (!others.is_empty()).then(|| json!({ "webhooks": others }))
}

#[cfg(test)]
mod tests;
