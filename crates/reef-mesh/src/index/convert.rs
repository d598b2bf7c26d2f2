//! Objects to mesh values: one object in, no lookups besides the arguments.

use std::net::IpAddr;
use std::sync::Arc;

use reef_config::labels::intern;
use reef_config::names::{ClusterId, Hostname, Namespace};
use reef_config::{IntOrString, Labels, Object, Problem, Spec, istio, k8s, parse, proxy_config};

use super::link::Shared;
use crate::identity::{locality_label, overlaid};
use crate::{
    Address, ExportTo, Interception, Locality, MeshSettings, MeshSnapshot, NodeInfo, Pod, Protocol,
    Registry, Resolution, Service, ServiceKey, ServicePort, TargetPort, TlsMode,
    TrafficDistribution, Workload, WorkloadInstance,
};

/// The label by which a pod tells that its proxy accepts mTLS.
const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";
/// The annotation of workload entries whose health an agent tells.
const HEALTH_CHECK_ANNOTATION: &str = "proxy.istio.io/health-checks-enabled";
/// The annotation by which a pod tells how traffic gets into its proxy.
const INTERCEPTION_ANNOTATION: &str = "sidecar.istio.io/interceptionMode";
/// The label that names a workload's network.
pub(crate) const NETWORK_LABEL: &str = "topology.istio.io/network";

/// The service `key` that a Kubernetes `Service` declares, without derived facts.
pub(super) fn kubernetes_service(
    object: &Object,
    service: &k8s::Service,
    key: &ServiceKey,
    settings: &MeshSettings,
) -> Service {
    let spec = &service.spec;
    let namespace = object.key.namespace.clone();
    let headless = service.is_headless();
    let alias = spec.service_type == k8s::ServiceType::ExternalName;
    let external_name = spec
        .external_name
        .as_deref()
        .filter(|_| alias)
        .map(|name| Hostname::from(name.trim_end_matches('.')));
    let export = object.meta.annotations.get("networking.istio.io/exportTo");
    let resolution = match (alias, headless) {
        (true, _) => Resolution::Alias,
        (false, true) => Resolution::Passthrough,
        (false, false) => Resolution::ClientSide,
    };
    let addresses = if alias {
        [].into()
    } else {
        service
            .virtual_ips()
            .filter_map(|ip| ip.parse().ok())
            .map(Address::Ip)
            .collect()
    };
    Service {
        key: key.clone(),
        name: object.key.name.clone(),
        registry: Registry::Kubernetes,
        resolution,
        created: object.meta.created,
        object: object.key.clone(),
        ports: spec.ports.iter().map(kubernetes_port).collect(),
        addresses,
        auto_addresses: [].into(),
        headless,
        mesh_external: alias,
        export_to: ExportTo::resolve(
            export.iter().flat_map(|list| list.split(',')),
            &namespace,
            &settings.config.default_service_export_to,
        ),
        selector: spec.selector.clone(),
        labels: object.meta.labels.clone(),
        aliases: [].into(),
        external_name,
        local_traffic_only: spec.internal_traffic_policy.as_deref() == Some("Local"),
        traffic_distribution: spec
            .traffic_distribution
            .as_deref()
            .and_then(TrafficDistribution::parse)
            .or_else(|| traffic_distribution(&object.meta.annotations)),
        publish_not_ready: spec.publish_not_ready_addresses,
        persistent_session: object
            .meta
            .labels
            .contains_key("istio.io/persistent-session"),
        race_first_connect: false,
        subject_alt_names: declared_accounts(object, settings),
        service_accounts: [].into(),
        all_endpoints_tls: false,
    }
}

/// What an annotation says of the preferred endpoints.
pub(super) fn traffic_distribution(annotations: &Labels) -> Option<TrafficDistribution> {
    annotations
        .get(TrafficDistribution::ANNOTATION)
        .and_then(|text| TrafficDistribution::parse(text))
}

/// Identities a `Service` says its servers may have: accounts of its namespace, and whole names.
fn declared_accounts(object: &Object, settings: &MeshSettings) -> Box<[Arc<str>]> {
    let listed = |annotation: &str| {
        let text = object.meta.annotations.get(annotation);
        let names: Vec<String> = text
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        names
    };
    let accounts = listed("alpha.istio.io/kubernetes-serviceaccounts");
    let mut names = listed("alpha.istio.io/canonical-serviceaccounts");
    names.extend(
        accounts
            .iter()
            .map(|account| settings.spiffe_id(&object.key.namespace, account)),
    );
    names.sort();
    names.dedup();
    names.into_iter().map(Arc::from).collect()
}

fn kubernetes_port(port: &k8s::ServicePort) -> ServicePort {
    let name = port.name.as_deref().unwrap_or_default();
    let transport = (port.protocol == k8s::Protocol::Udp).then_some("UDP");
    ServicePort {
        number: port.port,
        name: intern(name),
        protocol: Protocol::of_kubernetes_port(
            port.port,
            name,
            transport,
            port.app_protocol.as_deref(),
        ),
        target: match &port.target_port {
            Some(IntOrString::Int(number)) if *number != 0 => {
                u16::try_from(*number).map_or(TargetPort::Same, TargetPort::Number)
            }
            Some(IntOrString::String(name)) if !name.is_empty() => name
                .parse()
                .map_or_else(|_| TargetPort::Named(intern(name)), TargetPort::Number),
            _ => TargetPort::Same,
        },
    }
}

/// The service a host of a `ServiceEntry` declares, without derived facts.
pub(super) fn service_entry(
    object: &Object,
    entry: &istio::ServiceEntry,
    host: &Hostname,
    settings: &MeshSettings,
) -> Service {
    let namespace = object.key.namespace.clone();
    let strategy = object.meta.annotations.get("istio.io/connect-strategy");
    let mut subject_alt_names: Vec<Arc<str>> = entry
        .subject_alt_names
        .iter()
        .map(|name| Arc::from(&**name))
        .collect();
    subject_alt_names.sort();
    subject_alt_names.dedup();
    Service {
        key: ServiceKey {
            hostname: host.clone(),
            namespace: namespace.clone(),
        },
        name: object.key.name.clone(),
        registry: Registry::ServiceEntry,
        resolution: match entry.resolution {
            istio::Resolution::None => Resolution::Passthrough,
            istio::Resolution::Static => Resolution::ClientSide,
            istio::Resolution::Dns => Resolution::Dns,
            istio::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
            istio::Resolution::DynamicDns => Resolution::DynamicDns,
        },
        created: object.meta.created,
        object: object.key.clone(),
        ports: entry.ports.iter().map(entry_port).collect(),
        addresses: entry
            .addresses
            .iter()
            .map(|text| Address::parse(text))
            .filter(|address| matches!(address, Address::Ip(_) | Address::Cidr(_)))
            .collect(),
        auto_addresses: [].into(),
        headless: false,
        mesh_external: entry.location == istio::Location::MeshExternal,
        export_to: ExportTo::resolve(
            entry.export_to.iter().map(|value| &**value),
            &namespace,
            &settings.config.default_service_export_to,
        ),
        selector: entry
            .workload_selector
            .as_ref()
            .map(|selector| selector.labels.clone())
            .unwrap_or_default(),
        labels: object.meta.labels.clone(),
        aliases: [].into(),
        external_name: None,
        local_traffic_only: false,
        traffic_distribution: traffic_distribution(&object.meta.annotations),
        publish_not_ready: false,
        persistent_session: object
            .meta
            .labels
            .contains_key("istio.io/persistent-session"),
        race_first_connect: strategy.is_some_and(|s| **s == *"RACE_FIRST_TCP_CONNECT"),
        subject_alt_names: subject_alt_names.into(),
        service_accounts: [].into(),
        all_endpoints_tls: false,
    }
}

fn entry_port(port: &istio::ServiceEntryPort) -> ServicePort {
    let target = port
        .target_port
        .and_then(|p| u16::try_from(p).ok())
        .filter(|port| *port != 0);
    ServicePort {
        number: u16::try_from(port.number).unwrap_or_default(),
        name: port.name.clone().unwrap_or_default(),
        protocol: Protocol::from_token(port.protocol.as_deref().unwrap_or_default()),
        target: target.map_or(TargetPort::Same, TargetPort::Number),
    }
}

/// What a pod that was told is in `mesh`; `None` if the object is none.
pub(super) fn pod(object: &Object, mesh: &MeshSnapshot, shared: &mut Shared) -> Option<Pod> {
    let Spec::Pod(pod) = &object.spec else {
        return None;
    };
    let labels = &object.meta.labels;
    let namespace = &object.key.namespace;
    let name = workload_name(&object.key.name, labels);
    let ips: Vec<IpAddr> = pod.ips().filter_map(|ip| ip.parse().ok()).collect();
    let restartable =
        |c: &&k8s::Container| c.restart_policy == Some(k8s::ContainerRestartPolicy::Always);
    let containers = pod
        .spec
        .containers
        .iter()
        .chain(pod.spec.init_containers.iter().filter(restartable));
    let ports = containers
        .flat_map(|container| &container.ports)
        .map(|port| {
            (
                intern(port.name.as_deref().unwrap_or_default()),
                port.container_port,
            )
        });
    let account = pod.service_account();
    let mut facts = workload(
        name,
        namespace,
        &object.key.cluster,
        intern(&mesh.settings.spiffe_id(namespace, account)),
        labels,
    );
    let subdomain = pod.spec.subdomain.as_deref().unwrap_or_default();
    if !subdomain.is_empty() {
        let own = pod.spec.hostname.as_deref().unwrap_or_default();
        let own = if own.is_empty() {
            &*object.key.name
        } else {
            own
        };
        facts.host = Some(Arc::from(format!("{own}.{subdomain}")));
    }
    let node = pod.spec.node_name.as_ref();
    Some(Pod {
        namespace: namespace.clone(),
        name: object.key.name.clone(),
        uid: object.meta.uid,
        locality: pod_locality(labels, node, mesh, shared),
        network: pod_network(labels, &ips, shared),
        ips: ips.into(),
        labels: labels.clone(),
        node: node.cloned(),
        service_account: intern(account),
        tls_mode: tls_mode(labels).unwrap_or(TlsMode::Disabled),
        ports: shared.ports(ports.collect()),
        finished: matches!(
            pod.status.phase,
            k8s::PodPhase::Succeeded | k8s::PodPhase::Failed
        ),
        host_network: pod.spec.host_network,
        proxy_config: object
            .meta
            .annotations
            .get(proxy_config::ANNOTATION)
            .and_then(|text| parse::proxy_config(text).ok())
            .map(|(config, _)| Arc::new(config)),
        interception: object
            .meta
            .annotations
            .get(INTERCEPTION_ANNOTATION)
            .and_then(|mode| Interception::parse(mode)),
        workload: shared.workload(facts),
    })
}

/// A pod as it is in `mesh` now, which is not the one it was made in.
pub(super) fn pod_anew(pod: &Pod, mesh: &MeshSnapshot, shared: &mut Shared) -> Pod {
    let account = mesh
        .settings
        .spiffe_id(&pod.namespace, &pod.service_account);
    let facts = Workload {
        service_account: intern(&account),
        ..(*pod.workload).clone()
    };
    Pod {
        locality: pod_locality(&pod.labels, pod.node.as_ref(), mesh, shared),
        network: pod_network(&pod.labels, &pod.ips, shared),
        workload: shared.workload(facts),
        ..pod.clone()
    }
}

/// Where a pod is: as its label says, else where its node is, if that is known.
fn pod_locality(
    labels: &Labels,
    node: Option<&Arc<str>>,
    mesh: &MeshSnapshot,
    shared: &Shared,
) -> Arc<Locality> {
    if let Some(own) = locality_label(labels) {
        return Arc::new(own);
    }
    let node = node.and_then(|name| mesh.nodes.get(name));
    let known = node.map_or(&shared.empty, |node| &node.locality);
    Arc::clone(known)
}

fn pod_network(labels: &Labels, ips: &[IpAddr], shared: &Shared) -> Arc<str> {
    let own = labels.get(NETWORK_LABEL);
    let network = own.unwrap_or_else(|| shared.networks.of(ips.first().copied()));
    Arc::clone(network)
}

/// What of a pod's annotations about its proxy has no effect.
pub(super) fn pod_problems(object: &Object) -> Vec<Problem> {
    let annotations = &object.meta.annotations;
    let mut found = Vec::new();
    if let Some(text) = annotations.get(proxy_config::ANNOTATION) {
        let within =
            |field: &str| format!("metadata.annotations[{}].{field}", proxy_config::ANNOTATION);
        match parse::proxy_config(text) {
            Ok((_, unread)) => found.extend(unread.iter().map(|field| {
                let reason = "this proxy setting is not read, it has no effect";
                Problem::warning(parse::code::NOT_APPLIED, reason).field(within(field))
            })),
            Err(problem) => {
                let field = within(&problem.field);
                found.push(problem.field(field.trim_end_matches('.')));
            }
        }
    }
    if let Some(mode) = annotations.get(INTERCEPTION_ANNOTATION)
        && Interception::parse(mode).is_none()
    {
        let reason = format!("{mode} is neither REDIRECT, TPROXY nor NONE; it has no effect");
        let field = format!("metadata.annotations[{INTERCEPTION_ANNOTATION}]");
        found.push(Problem::warning(parse::code::INVALID, reason).field(field));
    }
    for problem in &mut found {
        problem.object = Some(object.key.clone());
        problem.origin.clone_from(&object.origin);
    }
    found
}

/// Name of the deployment a pod belongs to, else the pod's own.
fn workload_name(pod: &Arc<str>, labels: &Labels) -> Arc<str> {
    labels
        .get("pod-template-hash")
        .and_then(|hash| pod.split_once(&format!("-{hash}-")))
        .map_or_else(|| pod.clone(), |(name, _)| intern(name))
}

/// What endpoints of one workload share.
pub(super) fn workload(
    name: Arc<str>,
    namespace: &Namespace,
    cluster: &ClusterId,
    service_account: Arc<str>,
    labels: &Labels,
) -> Workload {
    let first = |keys: [&str; 3]| keys.iter().find_map(|key| labels.get(key)).cloned();
    let canonical = first([
        "service.istio.io/canonical-name",
        "app.kubernetes.io/name",
        "app",
    ]);
    let revision = first([
        "service.istio.io/canonical-revision",
        "app.kubernetes.io/version",
        "version",
    ]);
    Workload {
        canonical_service: canonical.unwrap_or_else(|| name.clone()),
        name,
        namespace: namespace.clone(),
        revision: revision
            .filter(|revision| **revision != *"latest")
            .unwrap_or_default(),
        cluster: cluster.clone(),
        service_account,
        labels: labels.clone(),
        host: None,
    }
}

fn tls_mode(labels: &Labels) -> Option<TlsMode> {
    labels.get(TLS_MODE_LABEL).map(|mode| {
        if **mode == *"istio" {
            TlsMode::Istio
        } else {
            TlsMode::Disabled
        }
    })
}

/// mTLS readiness of a workload entry: its label, else whether it has a service account.
pub(super) fn entry_tls_mode(entry: &istio::WorkloadEntry, labels: &Labels) -> TlsMode {
    let account = entry
        .service_account
        .as_deref()
        .is_some_and(|account| !account.is_empty());
    let by_account = if account {
        TlsMode::Istio
    } else {
        TlsMode::Disabled
    };
    tls_mode(labels).unwrap_or(by_account)
}

/// SPIFFE identity of a workload entry; empty if it names no service account.
pub(super) fn entry_account(
    entry: &istio::WorkloadEntry,
    namespace: &Namespace,
    settings: &MeshSettings,
) -> Arc<str> {
    let account = entry
        .service_account
        .as_deref()
        .filter(|account| !account.is_empty());
    account
        .map(|account| settings.spiffe_id(namespace, account).into())
        .unwrap_or_default()
}

/// True if a workload entry may be used: one whose health is checked must be healthy.
pub(super) fn is_usable(object: &Object, entry: &istio::WorkloadEntry) -> bool {
    let checked = object
        .meta
        .annotations
        .get(HEALTH_CHECK_ANNOTATION)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    !checked || entry.healthy == Some(true)
}

/// A `WorkloadEntry` object.
pub(super) fn workload_entry(
    object: &Object,
    entry: &istio::WorkloadEntry,
    settings: &MeshSettings,
) -> WorkloadInstance {
    let namespace = &object.key.namespace;
    let labels = overlaid(&entry.labels, &object.meta.labels);
    let locality = entry
        .locality
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(Locality::parse);
    let account = entry_account(entry, namespace, settings);
    let network = entry.network.clone().filter(|network| !network.is_empty());
    WorkloadInstance {
        object: object.key.clone(),
        namespace: namespace.clone(),
        address: Address::parse(&entry.address),
        ports: entry
            .ports
            .iter()
            .filter_map(|(name, port)| Some((Arc::from(name), u16::try_from(port).ok()?)))
            .collect(),
        weight: entry.weight.filter(|weight| *weight > 0).unwrap_or(1),
        locality: Arc::new(
            locality
                .or_else(|| locality_label(&labels))
                .unwrap_or_default(),
        ),
        network: network
            .or_else(|| labels.get(NETWORK_LABEL).cloned())
            .unwrap_or_default(),
        tls_mode: entry_tls_mode(entry, &labels),
        workload: Arc::new(workload(
            object.key.name.clone(),
            namespace,
            &object.key.cluster,
            account,
            &labels,
        )),
        labels,
    }
}

/// A node.
pub(super) fn node(object: &Object) -> NodeInfo {
    let labels = &object.meta.labels;
    let first = |keys: [&str; 2]| keys.iter().find_map(|key| labels.get(key)).cloned();
    let region = [
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/region",
    ];
    let zone = [
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/zone",
    ];
    NodeInfo {
        name: object.key.name.clone(),
        locality: Arc::new(Locality {
            region: first(region).unwrap_or_default(),
            zone: first(zone).unwrap_or_default(),
            subzone: labels
                .get("topology.istio.io/subzone")
                .cloned()
                .unwrap_or_default(),
        }),
    }
}
