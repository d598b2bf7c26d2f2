//! What a proxy says about itself: node id, metadata and locality, parsed without IO.

use std::net::IpAddr;
use std::sync::Arc;

use reef_config::names::Namespace;
use reef_config::proxy_config::MeshProxyConfig;

use reef_config::{Labels, Problem};

use crate::{Locality, MetaValue, Metadata};

/// The role of a proxy, first part of the node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyKind {
    /// Beside an application.
    Sidecar,
    /// A gateway.
    Router,
    /// A waypoint of ambient mode.
    Waypoint,
    /// The node proxy of ambient mode.
    Ztunnel,
    /// An agent gateway.
    AgentGateway,
}

/// Why a node can't be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The id has not four parts.
    #[error("node id `{id}` has {parts} parts separated by `~`, not 4 (type~ip~id~domain)")]
    Parts {
        /// The id.
        id: String,
        /// Number of parts.
        parts: usize,
    },
    /// The first part is not a known proxy type.
    #[error("node id `{id}`: `{kind}` is not a proxy type")]
    Kind {
        /// The id.
        id: String,
        /// Its first part.
        kind: String,
    },
    /// Neither metadata nor id has a valid IP.
    #[error("node id `{id}` has no valid IP, and metadata INSTANCE_IPS has none either")]
    NoIp {
        /// The id.
        id: String,
    },
}

/// A proxy as it introduces itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyNode {
    /// The whole node id.
    pub id: Arc<str>,
    /// Role.
    pub kind: ProxyKind,
    /// Addresses; never empty. The first one identifies the workload.
    pub ips: Box<[IpAddr]>,
    /// Pod name, if the id has the form `pod.namespace`.
    pub pod: Option<(Namespace, Arc<str>)>,
    /// Namespace whose configuration applies.
    pub namespace: Namespace,
    /// `<namespace>.svc.<cluster domain>`.
    pub dns_domain: Arc<str>,
    /// Metadata as sent.
    pub metadata: Metadata,
    /// `node.locality` of the request.
    pub locality: Locality,
    /// Metadata `PROXY_CONFIG`: replaces what the mesh says about this proxy. What can't be read
    /// counts as absent, and [`Self::settings_error`] says why.
    pub settings: Option<Arc<MeshProxyConfig>>,
    /// Why metadata `PROXY_CONFIG` can't be read, for people.
    pub settings_error: Option<Arc<str>>,
}

impl ProxyNode {
    /// Parses a node.
    ///
    /// # Errors
    /// [`NodeError`] if the id has not the form `type~ip~id~domain`, its type is unknown or there
    /// is no valid IP.
    pub fn parse(
        id: &str,
        metadata: impl Into<Metadata>,
        locality: Locality,
    ) -> Result<Self, NodeError> {
        let metadata = metadata.into();
        let parts: Vec<&str> = id.split('~').collect();
        let [kind, ip, name, dns_domain] = parts[..] else {
            return Err(NodeError::Parts {
                id: id.to_owned(),
                parts: parts.len(),
            });
        };
        let kind = match kind {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Router,
            "waypoint" => ProxyKind::Waypoint,
            "ztunnel" => ProxyKind::Ztunnel,
            "agentgateway" => ProxyKind::AgentGateway,
            other => {
                return Err(NodeError::Kind {
                    id: id.to_owned(),
                    kind: other.to_owned(),
                });
            }
        };
        let text = |key: &str| metadata.get(key).and_then(MetaValue::as_str);
        let mut ips: Vec<IpAddr> = text("INSTANCE_IPS")
            .unwrap_or_default()
            .split(',')
            .filter_map(|part| part.trim().parse().ok())
            .collect();
        if ips.is_empty() {
            ips.extend(ip.parse::<IpAddr>().ok());
        }
        if ips.is_empty() {
            return Err(NodeError::NoIp { id: id.to_owned() });
        }
        let from_domain = dns_domain
            .split_once('.')
            .map(|(first, _)| first)
            .unwrap_or_default();
        let namespace = Namespace::from(
            text("NAMESPACE")
                .filter(|ns| !ns.is_empty())
                .unwrap_or(from_domain),
        );
        let pod = name
            .rsplit_once('.')
            .filter(|(pod, ns)| !pod.is_empty() && !ns.is_empty())
            .map(|(pod, ns)| (Namespace::from(ns), Arc::from(pod)));
        let (settings, settings_error) = match metadata.get("PROXY_CONFIG").map(proxy_config) {
            None => (None, None),
            Some(Ok(settings)) => (Some(Arc::new(settings)), None),
            Some(Err(why)) => (None, Some(Arc::from(why))),
        };
        Ok(Self {
            settings,
            settings_error,
            id: Arc::from(id),
            kind,
            ips: ips.into(),
            pod,
            namespace,
            dns_domain: Arc::from(dns_domain),
            metadata,
            locality,
        })
    }

    /// What is wrong with what it says of itself, told as a problem.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let why = self.settings_error.as_ref()?;
        let name = self.id.split('~').nth(2).unwrap_or(&self.id);
        let reason = format!(
            "metadata PROXY_CONFIG of proxy {name} can't be read, so the mesh's settings count: {why}"
        );
        Some(Problem::warning("node-metadata", reason))
    }

    /// Text of a metadata key; empty text counts as absent.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata
            .get(key)
            .and_then(MetaValue::as_str)
            .filter(|text| !text.is_empty())
    }

    /// True if a metadata key is `true` or `"true"`.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.metadata.get(key).is_some_and(MetaValue::is_true)
    }

    /// Labels of a metadata key that holds a map of text.
    #[must_use]
    pub fn labels(&self, key: &str) -> Labels {
        match self.metadata.get(key) {
            Some(MetaValue::Map(map)) => map
                .iter()
                .filter_map(|(name, value)| Some((name, value.as_str()?)))
                .collect(),
            _ => Labels::default(),
        }
    }

    /// Container ports of metadata `POD_PORTS`: a JSON array in text, or a list of maps with
    /// `name` and `containerPort`. Returns (name, port).
    #[must_use]
    pub fn pod_ports(&self) -> Vec<(Arc<str>, u16)> {
        match self.metadata.get("POD_PORTS") {
            Some(MetaValue::List(list)) => list.iter().filter_map(pod_port).collect(),
            Some(MetaValue::String(text)) => pod_ports_text(text),
            _ => Vec::new(),
        }
    }
}

/// Settings as a struct, as agents send them, or as text.
fn proxy_config(value: &MetaValue) -> Result<MeshProxyConfig, String> {
    let text = match value {
        MetaValue::String(text) => text.to_string(),
        MetaValue::Map(_) => value.to_json(),
        _ => return Err("neither a struct nor text".to_owned()),
    };
    let parsed = reef_config::parse::proxy_config(&text);
    parsed
        .map(|(config, _)| config)
        .map_err(|problem| problem.to_string())
}

fn pod_port(value: &MetaValue) -> Option<(Arc<str>, u16)> {
    let MetaValue::Map(map) = value else {
        return None;
    };
    let name = map
        .get("name")
        .and_then(MetaValue::as_str)
        .unwrap_or_default();
    let MetaValue::Number(number) = map.get("containerPort")? else {
        return None;
    };
    let port = format!("{number:.0}").parse().ok()?;
    Some((Arc::from(name), port))
}

/// Reads the flat JSON array Istio's injector writes: objects with text and number members only.
fn pod_ports_text(text: &str) -> Vec<(Arc<str>, u16)> {
    text.split('{')
        .skip(1)
        .filter_map(|object| {
            let object = object.split('}').next()?;
            let mut name = "";
            let mut port = None;
            for member in object.split(',') {
                let (key, value) = member.split_once(':')?;
                let value = value.trim().trim_matches('"');
                match key.trim().trim_matches('"') {
                    "name" => name = value,
                    "containerPort" => port = value.parse().ok(),
                    _ => {}
                }
            }
            port.map(|port| (Arc::from(name), port))
        })
        .collect()
}
