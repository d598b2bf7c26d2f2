//! What injection adds to every pod alike: images, resources, addresses.

use std::collections::BTreeSet;

use reef_config::proxy_config::MeshProxyConfig;
use reef_proxy::bootstrap::DiscoveryAddress;
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

use crate::annotations;
use crate::k8s::{PullPolicy, Resources};

/// The settings, as a file or a ConfigMap has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The revision whose pods are injected; default `reef`.
    pub revision: String,
    /// Image of the proxy, a plain Envoy.
    pub proxy_image: String,
    /// Image of the init containers: `reef`, and the iptables programs.
    pub init_image: String,
    /// When images are pulled; the cluster's default if absent.
    #[serde(deserialize_with = "if_any")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Names of secrets to pull images with, added to the pod's own.
    pub image_pull_secrets: Vec<String>,
    /// Where proxies find Reef, `host:port`.
    pub discovery_address: String,
    /// How proxies know that it is Reef whom they talk to.
    pub authority: Authority,
    /// Audience of the token proxies present; default `istio-ca`.
    pub token_audience: String,
    /// Name of the cluster the pods are in; default `Kubernetes`.
    #[serde(rename = "clusterName")]
    pub cluster_id: String,
    /// Suffix of Service names; default `cluster.local`.
    pub cluster_domain: String,
    /// Network of the pods, where the mesh has several.
    pub network: Option<String>,
    /// Resources of the proxy where the pod says nothing.
    pub resources: Resources,
    /// Resources of the init containers.
    pub init_resources: Resources,
    /// Level of the proxy's log where the pod says nothing; default `warning`.
    pub log_level: String,
    /// Whether probes of the application are led around mutual TLS and policies where the pod says nothing.
    #[serde(rename = "rewriteAppHTTPProbe")]
    pub rewrite_app_http_probe: bool,
    /// Namespaces whose pods are never injected.
    pub excluded_namespaces: BTreeSet<String>,
    /// Only IPv4 is intercepted, where nodes have no ip6tables.
    pub ipv4_only: bool,
    /// Settings of proxies where the pod says nothing (`defaultConfig` of the mesh).
    pub proxy_config: MeshProxyConfig,
}

/// How proxies know that it is Reef whom they talk to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Authority {
    /// They do not: the discovery address is plain text, for tests and closed networks, and proxies present no token.
    Plaintext,
    /// By a certificate of this authority, as PEM; it is written into every pod.
    Inline(String),
    /// By a certificate of the authority in a ConfigMap of the pod's namespace.
    #[serde(rename_all = "camelCase")]
    ConfigMap {
        /// Name of the ConfigMap.
        name: String,
        /// Key in it.
        key: String,
    },
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("injection setting {field}: {reason}")]
pub struct SettingsError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}

impl Default for Settings {
    fn default() -> Self {
        let resources = |requests: &[(&str, &str)], limits: &[(&str, &str)]| {
            let read = |list: &[(&str, &str)]| {
                list.iter()
                    .filter_map(|(name, amount)| Some(((*name).to_owned(), amount.parse().ok()?)))
                    .collect()
            };
            Resources {
                requests: read(requests),
                limits: read(limits),
            }
        };
        Self {
            revision: "reef".to_owned(),
            proxy_image: "envoyproxy/envoy:distroless-v1.40.0".to_owned(),
            init_image: format!("reef-init:{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            discovery_address: "reef.reef-system.svc:15012".to_owned(),
            authority: Authority::ConfigMap {
                name: "reef-ca-root-cert".to_owned(),
                key: "root-cert.pem".to_owned(),
            },
            token_audience: "istio-ca".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            network: None,
            // Istio's defaults.
            resources: resources(
                &[("cpu", "100m"), ("memory", "128Mi")],
                &[("cpu", "2"), ("memory", "1Gi")],
            ),
            init_resources: resources(
                &[("cpu", "10m"), ("memory", "16Mi")],
                &[("cpu", "1"), ("memory", "64Mi")],
            ),
            log_level: "warning".to_owned(),
            rewrite_app_http_probe: true,
            excluded_namespaces: ["kube-system", "kube-public", "kube-node-lease"]
                .map(str::to_owned)
                .into(),
            ipv4_only: false,
            proxy_config: MeshProxyConfig::default(),
        }
    }
}

impl Settings {
    /// Says whether pods can be made of these settings.
    ///
    /// # Errors
    /// The first field that makes none.
    pub fn check(&self) -> Result<(), SettingsError> {
        let wrong = |field, reason: &dyn std::fmt::Display| SettingsError {
            field,
            reason: reason.to_string(),
        };
        for (field, image) in [
            ("proxyImage", &self.proxy_image),
            ("initImage", &self.init_image),
        ] {
            annotations::image(image).map_err(|reason| wrong(field, &reason))?;
        }
        self.discovery_address
            .parse::<DiscoveryAddress>()
            .map_err(|error| wrong("discoveryAddress", &error))?;
        annotations::log_level(&self.log_level).map_err(|reason| wrong("logLevel", &reason))?;
        for (field, text) in [
            ("revision", &self.revision),
            ("tokenAudience", &self.token_audience),
            ("clusterName", &self.cluster_id),
            ("clusterDomain", &self.cluster_domain),
        ] {
            if text.is_empty() {
                return Err(wrong(field, &"is empty"));
            }
        }
        match &self.authority {
            Authority::Inline(pem) if !pem.contains("-----BEGIN CERTIFICATE-----") => {
                Err(wrong("authority", &"has no certificate in PEM"))
            }
            _ => Ok(()),
        }
    }
}

/// A policy; an empty text, as a chart writes it for an empty value, is none.
fn if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PullPolicy>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Policy(PullPolicy),
        Other(String),
    }
    match Option::<Text>::deserialize(from)? {
        None => Ok(None),
        Some(Text::Policy(policy)) => Ok(Some(policy)),
        Some(Text::Other(text)) if text.is_empty() => Ok(None),
        Some(Text::Other(text)) => {
            let wanted = "Always, IfNotPresent or Never";
            Err(D::Error::invalid_value(Unexpected::Str(&text), &wanted))
        }
    }
}
