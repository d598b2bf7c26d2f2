//! Automatic mTLS of outbound clusters and of their endpoints.

use std::sync::{Arc, LazyLock};

use reef_config::names::Namespace;
use reef_mesh::{
    Endpoint, MeshSnapshot, MtlsMode, Protocol, Resolution, Service, TlsMode, WorkloadCert,
};
use xds_api::Any;
use xds_api::envoy::config::cluster::v3 as cds;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;

use super::tls::outbound_tls;
use crate::{names, xds};

/// How an outbound cluster uses mesh TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamTls {
    /// Identities a server may have, sorted; none means any of the mesh.
    identities: Arc<[Arc<str>]>,
}

/// Decides whether the clusters of a service use mesh TLS.
///
/// Never outside the mesh. Where the address is the client's choice there is no choice per
/// endpoint, so there every endpoint must be able. Then the service's namespace decides; policies
/// of workloads and ports are left to the choice per endpoint.
pub(crate) fn tls_of(
    snapshot: &MeshSnapshot,
    service: &Service,
    cert: WorkloadCert,
) -> Option<UpstreamTls> {
    let settings = snapshot.settings();
    let able = service.resolution != Resolution::Passthrough || service.all_endpoints_tls;
    let wanted = cert == WorkloadCert::SdsGrpc
        && settings.proxies.auto_mtls
        && !service.mesh_external
        && able
        && snapshot.namespace_mtls(&service.key.namespace) != MtlsMode::Disable;
    wanted.then(|| UpstreamTls {
        identities: identities(service, &settings.trust_domains),
    })
}

/// Identities of the service's endpoints and those it declares, in each trust domain.
fn identities(service: &Service, domains: &[Arc<str>]) -> Arc<[Arc<str>]> {
    let own = || {
        service
            .service_accounts
            .iter()
            .chain(&service.subject_alt_names)
    };
    let translated = own().flat_map(|identity| {
        let path = identity
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.split_once('/'))
            .map(|(_, path)| path);
        path.into_iter().flat_map(|path| {
            domains
                .iter()
                .map(move |domain| Arc::from(format!("spiffe://{domain}/{path}")))
        })
    });
    let mut all: Vec<Arc<str>> = own().cloned().chain(translated).collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

/// Adds mesh TLS to a cluster: for all of its connections if it keeps their destination, else for
/// those to endpoints that say so.
pub(crate) fn transport_sockets(
    cluster: &mut cds::Cluster,
    tls: &UpstreamTls,
    service: &Service,
    (port, protocol): (u16, Protocol),
) {
    let sni = names::sni(port, &service.key.hostname);
    let socket = outbound_tls(sni, &tls.identities, protocol.is_http2());
    if service.resolution == Resolution::Passthrough {
        cluster.transport_socket = Some(socket);
        return;
    }
    let choice = |name: &str, matched, socket| cds::cluster::TransportSocketMatch {
        name: name.to_owned(),
        r#match: Some(matched),
        transport_socket: Some(socket),
    };
    cluster.transport_socket_matches = vec![
        choice(
            "tlsMode-istio",
            xds::map([("tlsMode", xds::text("istio"))]),
            socket,
        ),
        choice("tlsMode-disabled", xds::map([]), RAW.clone()),
    ];
}

static RAW: LazyLock<core::TransportSocket> = LazyLock::new(|| core::TransportSocket {
    name: "envoy.transport_sockets.raw_buffer".to_owned(),
    config_type: Some(core::transport_socket::ConfigType::TypedConfig(Any::pack(
        &RawBuffer {},
    ))),
});

/// Which of these endpoints, by index, get plaintext although they could do mTLS: a policy says so.
pub(crate) fn plaintext_endpoints(snapshot: &MeshSnapshot, endpoints: &[Endpoint]) -> Arc<[u32]> {
    let Some(first) = endpoints.first() else {
        return Arc::default();
    };
    // Endpoints of one service are nearly always of one namespace.
    let mut namespace = &first.workload.namespace;
    let mut general = general_mode(snapshot, namespace);
    let mut found = Vec::new();
    for (index, endpoint) in (0u32..).zip(endpoints) {
        if endpoint.tls_mode == TlsMode::Disabled {
            continue;
        }
        let workload = &endpoint.workload;
        if workload.namespace != *namespace {
            namespace = &workload.namespace;
            general = general_mode(snapshot, namespace);
        }
        let mode = general.unwrap_or_else(|| {
            snapshot
                .peer_policy(namespace, &workload.labels)
                .of_port(endpoint.port)
        });
        if mode == MtlsMode::Disable {
            found.push(index);
        }
    }
    found.into()
}

/// The mode of all workloads of a namespace; `None` if they may differ.
fn general_mode(snapshot: &MeshSnapshot, namespace: &Namespace) -> Option<MtlsMode> {
    (!snapshot.has_workload_peer_policies(namespace)).then(|| snapshot.namespace_mtls(namespace))
}
