//! TLS of outbound clusters and of their endpoints: automatic, or as a `DestinationRule` says.

use std::sync::{Arc, LazyLock};

use reef_config::istio::{ClientTlsMode, ClientTlsSettings, ProxyProtocolVersion};
use reef_config::names::Namespace;
use reef_mesh::{
    Endpoint, MeshSnapshot, MtlsMode, Registry, Service, TlsMode, Unenforced, WorkloadCert,
};
use xds_api::Any;
use xds_api::envoy::config::cluster::v3::{self as cds, cluster::DiscoveryType};
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use xds_api::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;

use super::tls::{FileTls, file_tls, outbound_tls};
use crate::cluster::{AutoSni, discovery};
use crate::xds;

/// How connections of an outbound cluster are secured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    /// Not at all.
    #[default]
    Plain,
    /// By mesh TLS where an endpoint can: these identities, sorted; none means any of the mesh.
    Auto(Arc<[Arc<str>]>),
    /// By mesh TLS because a rule says so.
    Mesh(MeshTls),
    /// By TLS with files of the rule.
    Files(Arc<FileTls>),
    /// A rule demands what there is not: nobody may be reached.
    Blocked,
}

/// Mesh TLS of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MeshTls {
    /// Names a server may have, sorted.
    names: Arc<[Arc<str>]>,
    /// Server name; the cluster's if none.
    sni: Option<Arc<str>>,
}

/// What decides how a cluster is secured, besides the rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secured<'a> {
    pub snapshot: &'a MeshSnapshot,
    pub service: &'a Service,
    pub cert: WorkloadCert,
    /// Connections keep their destination: there is no choice per endpoint.
    pub original_destination: bool,
    /// The rule is only for workloads it selects.
    pub selected: bool,
}

impl Secured<'_> {
    /// Decides how a cluster is secured, by the rule's TLS block or automatically.
    pub(crate) fn decide(&self, tls: Option<&ClientTlsSettings>) -> Upstream {
        let Some(tls) = tls else {
            return self.automatic().map_or(Upstream::Plain, Upstream::Auto);
        };
        if self.blocks(Some(tls)) {
            return Upstream::Blocked;
        }
        if self.unmet(tls).is_some() {
            return Upstream::Plain;
        }
        match tls.mode {
            ClientTlsMode::Disable => Upstream::Plain,
            ClientTlsMode::IstioMutual => Upstream::Mesh(MeshTls {
                names: if tls.subject_alt_names.is_empty() {
                    self.identities()
                } else {
                    sorted(&tls.subject_alt_names)
                },
                sni: filled(tls.sni.as_deref()),
            }),
            // Credentials by name are not for sidecars, and no TLS is what Istio makes of them.
            ClientTlsMode::Simple | ClientTlsMode::Mutual if has_credential(tls) => Upstream::Plain,
            ClientTlsMode::Simple | ClientTlsMode::Mutual => Upstream::Files(self.files(tls)),
        }
    }

    /// What a TLS block demands that this proxy can't be given.
    pub(crate) fn unmet(&self, tls: &ClientTlsSettings) -> Option<&'static str> {
        match tls.mode {
            ClientTlsMode::Disable => None,
            ClientTlsMode::IstioMutual => (self.cert != WorkloadCert::SdsGrpc)
                .then_some("mode ISTIO_MUTUAL needs a workload certificate, the proxy has none"),
            ClientTlsMode::Simple | ClientTlsMode::Mutual if has_credential(tls) => self
                .honours(tls)
                .then_some("credentials by name are not handed out"),
            ClientTlsMode::Simple => None,
            ClientTlsMode::Mutual => {
                let given = |file: &Option<String>| file.as_ref().is_some_and(|f| !f.is_empty());
                (!given(&tls.client_certificate) || !given(&tls.private_key))
                    .then_some("mode MUTUAL needs clientCertificate and privateKey")
            }
        }
    }

    /// True if connections are refused because of what a TLS block demands.
    pub(crate) fn blocks(&self, tls: Option<&ClientTlsSettings>) -> bool {
        tls.is_some_and(|tls| self.unmet(tls).is_some())
            && self.snapshot.settings().unenforced == Unenforced::Deny
    }

    /// True if the rule names a credential sidecars do not look at: there is no TLS at all.
    pub(crate) fn ignores_credential(&self, tls: &ClientTlsSettings) -> bool {
        matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
            && has_credential(tls)
            && !self.honours(tls)
    }

    fn honours(&self, tls: &ClientTlsSettings) -> bool {
        let name = tls.credential_name.as_deref().unwrap_or_default();
        self.selected || name.starts_with("configmap://")
    }

    /// Never outside the mesh. Where the address is the client's choice there is no choice per
    /// endpoint, so there every endpoint must be able. Then the service's namespace decides;
    /// policies of workloads and ports are left to the choice per endpoint.
    fn automatic(&self) -> Option<Arc<[Arc<str>]>> {
        let (service, settings) = (self.service, self.snapshot.settings());
        let able = !self.original_destination || service.all_endpoints_tls;
        let wanted = self.cert == WorkloadCert::SdsGrpc
            && settings.proxies.auto_mtls
            && !service.mesh_external
            && able
            && self.snapshot.namespace_mtls(&service.key.namespace) != MtlsMode::Disable;
        wanted.then(|| self.identities())
    }

    fn identities(&self) -> Arc<[Arc<str>]> {
        identities(self.service, &self.snapshot.settings().trust_domains)
    }

    fn files(&self, tls: &ClientTlsSettings) -> Arc<FileTls> {
        let skip_verify = tls.insecure_skip_verify == Some(true);
        let sni = filled(tls.sni.as_deref());
        let names = if !tls.subject_alt_names.is_empty() {
            sorted(&tls.subject_alt_names)
        } else if self.service.registry == Registry::ServiceEntry {
            self.service.subject_alt_names.iter().cloned().collect()
        } else {
            Arc::default()
        };
        let client = (tls.mode == ClientTlsMode::Mutual)
            .then(|| {
                let chain = filled(tls.client_certificate.as_deref())?;
                Some((chain, filled(tls.private_key.as_deref())?))
            })
            .flatten();
        Arc::new(FileTls {
            inline: self.cert != WorkloadCert::SdsGrpc,
            auto_sni: sni.is_none().then_some(AutoSni {
                validate: tls.subject_alt_names.is_empty() && !skip_verify,
            }),
            sni,
            names,
            authorities: filled(tls.ca_certificates.as_deref()),
            revoked: filled(tls.ca_crl.as_deref()),
            client,
            skip_verify,
            limits: self.snapshot.settings().proxies.external_tls.clone(),
        })
    }
}

fn has_credential(tls: &ClientTlsSettings) -> bool {
    tls.credential_name
        .as_ref()
        .is_some_and(|name| !name.is_empty())
}

fn filled(text: Option<&str>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty()).map(Arc::from)
}

fn sorted(names: &[String]) -> Arc<[Arc<str>]> {
    let mut names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

impl Upstream {
    /// How server names follow requests, if they do.
    pub(crate) fn auto_sni(&self) -> Option<AutoSni> {
        match self {
            Self::Files(files) => files.auto_sni,
            _ => None,
        }
    }
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

/// Secures a cluster's connections: all of them if a rule says so or if they keep their
/// destination, else those to endpoints that say they can. `sni` names the cluster.
pub(crate) fn transport_sockets(
    cluster: &mut cds::Cluster,
    upstream: &Upstream,
    sni: String,
    http2: bool,
) {
    let identities = match upstream {
        Upstream::Plain | Upstream::Blocked => return,
        Upstream::Mesh(mesh) => {
            let sni = mesh.sni.as_ref().map_or(sni, ToString::to_string);
            cluster.transport_socket = Some(outbound_tls(sni, &mesh.names, http2));
            return;
        }
        Upstream::Files(files) => {
            cluster.transport_socket = Some(file_tls(files, http2));
            return;
        }
        Upstream::Auto(identities) => identities,
    };
    let socket = outbound_tls(sni, identities, http2);
    if cluster.cluster_discovery_type == discovery(DiscoveryType::OriginalDst) {
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

/// Has the PROXY protocol spoken before whatever else a connection begins with.
pub(crate) fn proxy_protocol(cluster: &mut cds::Cluster, version: ProxyProtocolVersion) {
    let wrap = |inner: Option<core::TransportSocket>| core::TransportSocket {
        name: "envoy.transport_sockets.upstream_proxy_protocol".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(Any::pack(
            &ProxyProtocolUpstreamTransport {
                config: Some(core::ProxyProtocolConfig {
                    version: match version {
                        ProxyProtocolVersion::V1 => core::proxy_protocol_config::Version::V1,
                        ProxyProtocolVersion::V2 => core::proxy_protocol_config::Version::V2,
                    }
                    .into(),
                    ..Default::default()
                }),
                transport_socket: Some(inner.unwrap_or_else(|| RAW.clone())),
                ..Default::default()
            },
        ))),
    };
    if cluster.transport_socket_matches.is_empty() {
        cluster.transport_socket = Some(wrap(cluster.transport_socket.take()));
        return;
    }
    for choice in &mut cluster.transport_socket_matches {
        choice.transport_socket = Some(wrap(choice.transport_socket.take()));
    }
}

static RAW: LazyLock<core::TransportSocket> = LazyLock::new(|| core::TransportSocket {
    name: "envoy.transport_sockets.raw_buffer".to_owned(),
    config_type: Some(core::transport_socket::ConfigType::TypedConfig(Any::pack(
        &RawBuffer {},
    ))),
});

/// Which endpoints get plaintext although they could do mTLS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Plaintext {
    /// These, by index, ascending.
    These(Arc<[u32]>),
    /// All: a rule says how connections to them are secured.
    All,
}

impl Default for Plaintext {
    fn default() -> Self {
        Self::These(Arc::default())
    }
}

impl Plaintext {
    /// Who gets plaintext under a TLS block; without one `policies` decide.
    pub(crate) fn of(tls: Option<&ClientTlsSettings>, policies: &Arc<[u32]>) -> Self {
        match tls.map(|tls| tls.mode) {
            None => Self::These(policies.clone()),
            Some(ClientTlsMode::IstioMutual) => Self::default(),
            Some(_) => Self::All,
        }
    }

    /// True if the endpoint of this index gets plaintext.
    pub(crate) fn has(&self, index: u32) -> bool {
        match self {
            Self::These(these) => these.binary_search(&index).is_ok(),
            Self::All => true,
        }
    }
}

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
