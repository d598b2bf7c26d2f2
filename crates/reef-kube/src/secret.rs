//! Reef's own Secrets, by name.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};

use crate::Cluster;

/// Type of a Secret with a certificate and its key.
const TLS: &str = "kubernetes.io/tls";

/// A certificate and its key, as a Secret holds them, and which version of it this is. All are empty in a Secret that
/// was laid out to be filled.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsSecret {
    /// `tls.crt`, PEM.
    pub cert: String,
    /// `tls.key`, PEM.
    pub key: String,
    /// Its `resourceVersion`; `None` for one that is not there.
    pub version: Option<String>,
    /// Its type, which cannot be changed.
    ty: Option<String>,
}

impl TlsSecret {
    /// The same Secret with another certificate.
    #[must_use]
    pub fn with(self, cert: String, key: String) -> Self {
        Self { cert, key, ..self }
    }
}

impl std::fmt::Debug for TlsSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSecret")
            .field("key", &"…")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A Secret could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server refuses or does not answer.
    #[error("Secret {namespace}/{name}: {source}")]
    Request {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// Somebody else wrote it meanwhile; read it again.
    #[error("Secret {namespace}/{name} was written by another meanwhile")]
    Conflict {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Cluster {
    /// Reads a Secret: `get`. One that is not there is empty.
    ///
    /// # Errors
    /// [`SecretError`] if it cannot be read.
    pub async fn tls_secret(&self, namespace: &str, name: &str) -> Result<TlsSecret, SecretError> {
        let secrets: Api<Secret> = Api::namespaced(self.client().clone(), namespace);
        let found = secrets
            .get_opt(name)
            .await
            .map_err(|source| request(namespace, name, source))?;
        let Some(secret) = found else {
            return Ok(TlsSecret::default());
        };
        let data = secret.data.unwrap_or_default();
        let text = |key: &str| {
            data.get(key)
                .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
                .unwrap_or_default()
        };
        Ok(TlsSecret {
            cert: text("tls.crt"),
            key: text("tls.key"),
            version: secret.metadata.resource_version,
            ty: secret.type_,
        })
    }

    /// Writes a Secret: `create` where it has no version, else `update` of that very version. Returns the new version.
    ///
    /// # Errors
    /// [`SecretError::Conflict`] if another was faster, else [`SecretError::Request`].
    pub async fn put_tls_secret(
        &self,
        namespace: &str,
        name: &str,
        content: &TlsSecret,
    ) -> Result<Option<String>, SecretError> {
        let secrets: Api<Secret> = Api::namespaced(self.client().clone(), namespace);
        let data = BTreeMap::from([
            (
                "tls.crt".to_owned(),
                ByteString(content.cert.clone().into()),
            ),
            ("tls.key".to_owned(), ByteString(content.key.clone().into())),
        ]);
        let secret = Secret {
            metadata: meta(name, content.version.as_deref()),
            type_: Some(content.ty.clone().unwrap_or_else(|| TLS.to_owned())),
            data: Some(data),
            ..Secret::default()
        };
        let params = PostParams::default();
        let written = match content.version {
            None => secrets.create(&params, &secret).await,
            Some(_) => secrets.replace(name, &params, &secret).await,
        };
        match written {
            Ok(written) => Ok(written.metadata.resource_version),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(SecretError::Conflict {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            Err(source) => Err(request(namespace, name, source)),
        }
    }
}

impl Cluster {
    /// Sees to it that a ConfigMap holds this one text: `get`, and where it differs `create` or `update`.
    ///
    /// # Errors
    /// [`SecretError`], though it is none.
    pub async fn publish_text(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
        text: &str,
    ) -> Result<(), SecretError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client().clone(), namespace);
        let failed = |source| request(namespace, name, source);
        let found = maps.get_opt(name).await.map_err(failed)?;
        let data = BTreeMap::from([(key.to_owned(), text.to_owned())]);
        if found
            .as_ref()
            .is_some_and(|map| map.data.as_ref() == Some(&data))
        {
            return Ok(());
        }
        let version = found.and_then(|map| map.metadata.resource_version);
        let map = ConfigMap {
            metadata: meta(name, version.as_deref()),
            data: Some(data),
            ..ConfigMap::default()
        };
        let params = PostParams::default();
        let written = match version {
            None => maps.create(&params, &map).await,
            Some(_) => maps.replace(name, &params, &map).await,
        };
        match written {
            // Another replica wrote the same.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            written => written.map(|_map| ()).map_err(failed),
        }
    }
}

fn meta(name: &str, version: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        resource_version: version.map(str::to_owned),
        labels: Some(BTreeMap::from([(
            "app.kubernetes.io/managed-by".to_owned(),
            "reef".to_owned(),
        )])),
        ..ObjectMeta::default()
    }
}

fn request(namespace: &str, name: &str, source: kube::Error) -> SecretError {
    SecretError::Request {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    }
}
