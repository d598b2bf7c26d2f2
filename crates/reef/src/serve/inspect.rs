//! The admin pages' questions, answered from the registry, the latest snapshot and the latest facts.
//!
//! Scopes are resolved again for each question: a pure function of the snapshot, a few milliseconds, on a blocking
//! thread. So a page can never show a scope that is not the one generation would use now.

mod istiod;
mod more;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reef_admin::{
    Among, BuildInfo, Caller, Deciding, Inspect, InspectError, MeshPage, ProblemReport,
    ProxySummary, Readiness, TypeSync,
};
use reef_config::{ClusterId, Hostname, Object};
use reef_mesh::{MeshSnapshot, ProxyIdentity, ProxyNode, ServiceKey, identify};
use reef_scope::{OutboundPolicy, Scope, Why, WhyNot};
use reef_server::service::DiscoveryServer;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};

use super::access::Access;
use super::dump;
use super::metrics::Metrics;
use super::registry::{Stream, TypeState};
use super::shared::Shared;
use super::writer::Ask;
use crate::clock;

/// Answers the admin pages.
#[derive(Debug)]
pub(super) struct Pages {
    /// What is published.
    pub(super) shared: Arc<Shared>,
    /// What is counted.
    pub(super) metrics: Arc<Metrics>,
    /// Who may ask.
    pub(super) access: Arc<Access>,
    /// Asks the writer for the objects.
    pub(super) asks: mpsc::Sender<Ask>,
    /// Asks the streams for the names they watch.
    pub(super) server: DiscoveryServer,
}

/// How long a page waits for streams to tell what they watch; one is busy for a second only with a very large mesh.
const NAMES_PATIENCE: Duration = Duration::from_secs(2);

impl Inspect for Pages {
    fn readiness(&self) -> Readiness {
        match self.shared.ready() {
            Ok(()) => Readiness::Ready,
            Err(reason) => Readiness::NotReady(match self.shared.waiting() {
                Some(waiting) => format!("{reason}: {waiting}"),
                None => reason.to_owned(),
            }),
        }
    }

    fn build(&self) -> BuildInfo {
        BuildInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("REEF_REVISION").unwrap_or("unknown").to_owned(),
        }
    }

    fn rights<'a>(&'a self, caller: Caller<'a>) -> Deciding<'a> {
        Box::pin(self.access.page(caller))
    }

    fn metrics(&self) -> String {
        self.metrics.page(&self.shared)
    }

    fn proxies(&self) -> Vec<ProxySummary> {
        let snapshot = self.shared.snapshot.load_full();
        let mesh_services = snapshot
            .as_ref()
            .map(|snapshot| snapshot.service_count())
            .unwrap_or_default();
        let cluster = snapshot
            .as_ref()
            .map(|snapshot| snapshot.settings().cluster.clone())
            .unwrap_or_default();
        // Proxies of a class share a scope; counting it once per class keeps this page linear in classes.
        let mut services_of: BTreeMap<u64, usize> = BTreeMap::new();
        let mut merged: BTreeMap<String, ProxySummary> = BTreeMap::new();
        for stream in self.shared.registry.streams() {
            let class = stream.class();
            let services = match &snapshot {
                None => 0,
                Some(snapshot) => *services_of
                    .entry(class)
                    .or_insert_with(|| scope(snapshot, &stream).1.services.len()),
            };
            let row = summary(&stream, class, services, mesh_services, &cluster);
            // A proxy with single-type streams is one row.
            match merged.get_mut(&row.id) {
                Some(known) => known.types.extend(row.types),
                None => {
                    merged.insert(row.id.clone(), row);
                }
            }
        }
        merged.into_values().collect()
    }

    fn problems(&self) -> Vec<ProblemReport> {
        self.shared
            .facts
            .load()
            .problems
            .iter()
            .map(|problem| ProblemReport {
                severity: problem.severity.to_string(),
                origin: problem
                    .origin
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                object: problem
                    .object
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                field: problem.field.clone(),
                reason: problem.reason.clone(),
            })
            .collect()
    }

    fn status(&self) -> Value {
        let snapshot = self.shared.snapshot.load_full();
        let facts = self.shared.facts.load();
        let objects: Map<String, Value> = facts
            .objects
            .iter()
            .map(|(kind, count)| (kind.as_str().to_owned(), json!(count)))
            .collect();
        let endpoints: usize = snapshot.iter().map(|snapshot| endpoints(snapshot)).sum();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kinds": kinds(&self.shared),
            "ready": self.shared.ready().is_ok(),
            "services": snapshot.as_ref().map(|snapshot| snapshot.service_count()).unwrap_or_default(),
            "endpoints": endpoints,
            "proxies": self.shared.registry.len(),
            "classes": facts.sizes.classes,
            "resources": facts.sizes.resources,
            "resourceBytes": facts.sizes.resource_bytes,
            "problems": facts.problems.len(),
            "objects": objects,
        })
    }

    fn config_dump(&self, id: &str, types: &[String]) -> Result<Value, InspectError> {
        let stream = self.stream(id)?;
        let view = Arc::clone(&stream.view.borrow());
        dump::config_dump(&*view, types).map_err(InspectError::Bad)
    }

    fn sidecar(&self, id: &str) -> Result<Value, InspectError> {
        let (_, _, scope) = self.scope_of(id)?;
        Ok(scope_json(&scope))
    }

    fn mesh_page(&self, page: MeshPage, among: Among<'_>) -> Value {
        let Some(snapshot) = self.shared.snapshot.load_full() else {
            return Value::Null;
        };
        let streams = || {
            let mut streams = self.shared.registry.streams();
            streams.retain(|stream| {
                let part = among.proxy;
                let namespace = among.namespace;
                part.is_none_or(|part| istiod::connection_id(stream).contains(part))
                    && namespace.is_none_or(|namespace| namespace_of(&stream.node) == namespace)
            });
            streams
        };
        match page {
            MeshPage::Adsz => {
                let streams = streams();
                let wake = || self.server.ask_names();
                let names = self.shared.registry.names(&streams, wake, NAMES_PATIENCE);
                istiod::adsz(&snapshot, &streams, &names)
            }
            MeshPage::Connections => istiod::connections(&streams()),
            MeshPage::Registryz => istiod::registryz(&snapshot),
            MeshPage::EndpointShardz => istiod::endpoint_shardz(&snapshot),
            MeshPage::Networkz => istiod::networkz(&snapshot),
            MeshPage::Configz => self
                .objects()
                .iter()
                .map(|object| object.to_json())
                .collect(),
            MeshPage::Mesh => snapshot.settings().config.to_json(),
            MeshPage::Resourcesz => more::resourcesz(),
            MeshPage::Instancesz => more::instancesz(&snapshot, &streams()),
            MeshPage::Authorizationz => {
                let root = snapshot.settings().root_namespace.as_str();
                more::authorizationz(&self.objects(), root)
            }
            MeshPage::Telemetryz => more::telemetryz(&self.objects()),
            MeshPage::PushStatus => more::push_status(&self.shared.facts.load().problems),
            MeshPage::Cachez => more::cachez(&streams()),
            MeshPage::CacheSizes => more::cache_sizes(&streams()),
        }
    }

    fn why(&self, id: &str, service: &str) -> Result<Value, InspectError> {
        let (snapshot, identity, scope) = self.scope_of(id)?;
        if service.is_empty() || service.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(InspectError::Bad(format!("`{service}` is not a host name")));
        }
        let host = full_host(&snapshot, &identity, service);
        Ok(why_json(id, &snapshot, &scope, &host))
    }
}

impl Pages {
    /// The Istio objects; none while the process ends. Blocks until the writer has time.
    fn objects(&self) -> Vec<Arc<Object>> {
        let (reply, answer) = oneshot::channel();
        if self.asks.blocking_send(reply).is_err() {
            return Vec::new();
        }
        answer.blocking_recv().unwrap_or_default()
    }

    fn stream(&self, id: &str) -> Result<Arc<Stream>, InspectError> {
        let streams = self.shared.registry.streams();
        streams
            .into_iter()
            .find(|stream| &*stream.node.id == id)
            .ok_or(InspectError::Gone)
    }

    fn scope_of(
        &self,
        id: &str,
    ) -> Result<(Arc<MeshSnapshot>, ProxyIdentity, Arc<Scope>), InspectError> {
        let stream = self.stream(id)?;
        let snapshot = self.shared.snapshot.load_full().ok_or(InspectError::Gone)?;
        let (identity, scope) = scope(&snapshot, &stream);
        Ok((snapshot, identity, scope))
    }
}

/// The namespace a proxy belongs to: that of the pod its id names, which is what its credential was compared with.
pub(super) fn namespace_of(node: &ProxyNode) -> &str {
    match &node.pod {
        Some((namespace, _)) => namespace.as_str(),
        None => node.namespace.as_str(),
    }
}

fn scope(snapshot: &MeshSnapshot, stream: &Stream) -> (ProxyIdentity, Arc<Scope>) {
    let identity = identify(snapshot, &stream.node);
    let scope = reef_scope::resolve(snapshot, &reef_scope::select(snapshot, &identity));
    (identity, scope)
}

fn endpoints(snapshot: &MeshSnapshot) -> usize {
    snapshot
        .services()
        .filter_map(|service| snapshot.endpoints(&service.key))
        .map(|all| {
            all.ports
                .iter()
                .map(|(_, endpoints)| endpoints.len())
                .sum::<usize>()
        })
        .sum()
}

fn summary(
    stream: &Stream,
    class: u64,
    services: usize,
    mesh_services: usize,
    cluster: &ClusterId,
) -> ProxySummary {
    let node = &stream.node;
    let types = stream
        .types()
        .into_iter()
        .map(|(ty, state)| (ty.type_url().to_owned(), type_sync(state)))
        .collect();
    ProxySummary {
        id: node.id.to_string(),
        namespace: namespace_of(node).to_owned(),
        cluster_id: node.text("CLUSTER_ID").unwrap_or(cluster).to_owned(),
        kind: node.id.split('~').next().unwrap_or_default().to_owned(),
        istio_version: node.text("ISTIO_VERSION").unwrap_or_default().to_owned(),
        delta: stream.delta,
        connected_at: clock::rfc3339(stream.since),
        address: stream
            .address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        services,
        mesh_services,
        class: class.to_string(),
        types,
    }
}

fn type_sync(state: TypeState) -> TypeSync {
    let text = |nonce: Option<Arc<str>>| nonce.map(|nonce| nonce.to_string()).unwrap_or_default();
    TypeSync {
        sent: text(state.sent),
        acked: text(state.acked),
        sent_time: state.sent_time.map(clock::rfc3339).unwrap_or_default(),
        last_error: state.last_error.map(|error| error.text),
        resources: state.resources,
        bytes: state.bytes,
    }
}

/// The scope, each service with its reasons.
pub(super) fn scope_json(scope: &Scope) -> Value {
    let services: Vec<Value> = scope
        .services
        .iter()
        .map(|scoped| {
            let service = &scoped.service;
            json!({
                "hostname": service.key.hostname.as_str(),
                "namespace": service.key.namespace.as_str(),
                "ports": service.ports.iter().map(|port| port.number).collect::<BTreeSet<u16>>(),
                "reasons": scoped.reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    let by_hostname: BTreeMap<&str, &str> = scope
        .services
        .iter()
        .map(|scoped| &scoped.service.key)
        .map(|key| (key.hostname.as_str(), key.namespace.as_str()))
        .collect();
    let egress: Vec<Vec<&str>> = scope
        .egress
        .iter()
        .map(|listener| {
            let services = listener.services.iter();
            services
                .map(|service| service.key.hostname.as_str())
                .collect()
        })
        .collect();
    let rules: BTreeMap<&str, Vec<String>> = scope
        .services
        .iter()
        .filter(|scoped| !scoped.destination_rules.is_empty())
        .map(|scoped| {
            let objects = scoped
                .destination_rules
                .iter()
                .flat_map(|rule| &rule.objects);
            let named = objects.map(ToString::to_string).collect();
            (scoped.service.key.hostname.as_str(), named)
        })
        .collect();
    let sidecar = scope.sidecar.as_ref().map(|rule| &rule.object);
    json!({
        "name": sidecar.map_or("default", |object| &*object.name),
        "namespace": scope.id.namespace.as_str(),
        "source": scope.id.to_string(),
        "outboundTrafficPolicy": policy(&scope.outbound_policy),
        "services": services,
        "egressListenerServices": egress,
        "servicesByHostname": by_hostname,
        "sidecar": sidecar.map(ToString::to_string),
        "destinationRules": rules,
    })
}

/// The policy in MeshConfig's spelling.
fn policy(policy: &OutboundPolicy) -> &'static str {
    match policy {
        OutboundPolicy::RegistryOnly => "REGISTRY_ONLY",
        OutboundPolicy::AllowAny { .. } => "ALLOW_ANY",
        OutboundPolicy::AllowAnyDynamicDns => "ALLOW_ANY_DYNAMIC_DNS",
    }
}

fn why_json(id: &str, snapshot: &MeshSnapshot, scope: &Scope, host: &Hostname) -> Value {
    let told = |others: Vec<(ServiceKey, WhyNot)>| -> Vec<String> {
        others
            .into_iter()
            .map(|(key, reason)| format!("{key}: {reason}"))
            .collect()
    };
    let (services, reasons) = match reef_scope::why(snapshot, scope, host) {
        Why::Included {
            service,
            reasons,
            others,
        } => {
            let included = json!({
                "hostname": service.hostname.as_str(),
                "namespace": service.namespace.as_str(),
                "reasons": reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            (vec![included], told(others))
        }
        Why::Excluded(others) => (Vec::new(), told(others)),
        Why::Unknown => (
            Vec::new(),
            vec!["the mesh has no service of this host name".to_owned()],
        ),
    };
    json!({
        "proxy": id.split('~').nth(2).unwrap_or(id),
        "service": host.as_str(),
        "visible": !services.is_empty(),
        "scope": scope.id.to_string(),
        "services": services,
        "reasons": reasons,
    })
}

/// The host a person means: as written if the mesh has it, else `name.namespace` or `name` completed to a Service's.
fn full_host(snapshot: &MeshSnapshot, identity: &ProxyIdentity, service: &str) -> Hostname {
    let written = Hostname::from(service);
    if snapshot.services_of_host(&written).next().is_some() {
        return written;
    }
    let domain = identity
        .dns_domain
        .split_once(".svc.")
        .map_or("cluster.local", |(_, domain)| domain);
    let namespace = identity.namespace.as_str();
    let full = match service.split('.').count() {
        1 => format!("{service}.{namespace}.svc.{domain}"),
        2 => format!("{service}.svc.{domain}"),
        3 if service.ends_with(".svc") => format!("{service}.{domain}"),
        _ => return written,
    };
    let full = Hostname::from(full.as_str());
    if snapshot.services_of_host(&full).next().is_some() {
        full
    } else {
        written
    }
}

/// How each kind of a cluster is followed; `null` where files are.
fn kinds(shared: &Shared) -> Value {
    let Some(states) = &shared.kinds else {
        return Value::Null;
    };
    let states = Arc::clone(&states.borrow());
    let kinds = states.kinds.iter().map(|(kind, status)| {
        let stale = status.state.stale_since();
        let row = json!({
            "state": status.state.word(),
            "text": status.state.to_string(),
            "objects": status.objects,
            "staleSeconds": stale.map(|since| since.elapsed().as_secs()),
        });
        (kind.as_str().to_owned(), row)
    });
    Value::Object(kinds.collect())
}
