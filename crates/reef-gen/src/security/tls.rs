//! TLS contexts of the mesh, whose certificate and roots the agent beside the proxy provides.
//!
//! They are made only for proxies that have such an agent: a context whose secrets never come keeps
//! its listener or cluster warming for ever. Peer metadata is not exchanged by a plain Envoy, so
//! `istio-peer-exchange` is matched but never offered: a peer that gets it would write its metadata
//! into the stream.

use std::sync::{Arc, LazyLock};

use reef_mesh::{MeshSettings, TlsLimits};
use xds_api::Any;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
    TlsParameters, UpstreamTlsContext, common_tls_context::CombinedCertificateValidationContext,
    common_tls_context::ValidationContextType, tls_parameters::TlsProtocol,
};
use xds_api::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use crate::xds;

/// Cluster of the agent's secrets in its bootstrap.
const SDS_CLUSTER: &str = "sds-grpc";
/// Name of the workload's certificate.
const CERTIFICATE: &str = "default";
/// Name of the mesh's roots.
const ROOTS: &str = "ROOTCA";

/// What inbound contexts use unless the mesh lists its own: AEAD with forward secrecy, then without.
const CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// Mesh settings that contexts of inbound chains read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct InboundTls {
    /// Trust domains whose identities are accepted, sorted.
    trust_domains: Arc<[Arc<str>]>,
    limits: Arc<TlsLimits>,
}

impl InboundTls {
    /// Reads the settings.
    pub(crate) fn of(settings: &MeshSettings) -> Self {
        Self {
            trust_domains: settings.trust_domains.clone(),
            limits: settings.proxies.mesh_tls.clone(),
        }
    }

    fn ciphers(&self) -> Vec<String> {
        if self.limits.ciphers.is_empty() {
            return CIPHERS.map(str::to_owned).into();
        }
        self.limits
            .ciphers
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

/// The transport socket of an inbound chain that terminates mesh TLS.
pub(crate) fn inbound_tls(tls: &InboundTls) -> core::TransportSocket {
    let minimum = if tls.limits.only_tls13 {
        TlsProtocol::TlSv13
    } else {
        TlsProtocol::TlSv12
    };
    let names = tls
        .trust_domains
        .iter()
        .map(|domain| MatchPattern::Prefix(format!("spiffe://{domain}/")));
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                cipher_suites: tls.ciphers(),
                ecdh_curves: tls.limits.curves.iter().map(ToString::to_string).collect(),
                ..protocols(minimum)
            }),
            ..secured(names, &["h2", "http/1.1"])
        }),
        require_client_certificate: Some(true),
        ..Default::default()
    };
    socket(Any::pack(&context))
}

/// The transport socket of connections to mesh workloads: `sni` names the cluster, one of
/// `identities` must be theirs.
pub(crate) fn outbound_tls(
    sni: String,
    identities: &[Arc<str>],
    http2: bool,
) -> core::TransportSocket {
    let names = identities
        .iter()
        .map(|identity| MatchPattern::Exact(identity.to_string()));
    let alpn: &[&str] = if http2 { &["istio", "h2"] } else { &["istio"] };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(protocols(TlsProtocol::TlSv12)),
            ..secured(names, alpn)
        }),
        sni,
        ..Default::default()
    };
    socket(Any::pack(&context))
}

fn protocols(minimum: TlsProtocol) -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: minimum.into(),
        // A client's own default ends at 1.2.
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..Default::default()
    }
}

/// Own certificate, the mesh's roots, and which names are accepted.
fn secured(names: impl Iterator<Item = MatchPattern>, alpn: &[&str]) -> CommonTlsContext {
    let accepted = CertificateValidationContext {
        match_subject_alt_names: names
            .map(|pattern| StringMatcher {
                match_pattern: Some(pattern),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    CommonTlsContext {
        tls_certificate_sds_secret_configs: vec![secret(CERTIFICATE)],
        alpn_protocols: alpn.iter().map(|name| (*name).to_owned()).collect(),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(accepted),
                validation_context_sds_secret_config: Some(secret(ROOTS)),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn secret(name: &str) -> SdsSecretConfig {
    static AGENT: LazyLock<core::ConfigSource> = LazyLock::new(|| core::ConfigSource {
        initial_fetch_timeout: Some(xds::ZERO),
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(
            core::ApiConfigSource {
                api_type: core::api_config_source::ApiType::Grpc.into(),
                transport_api_version: core::ApiVersion::V3.into(),
                set_node_on_first_message_only: true,
                grpc_services: vec![core::GrpcService {
                    target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
                        core::grpc_service::EnvoyGrpc {
                            cluster_name: SDS_CLUSTER.to_owned(),
                            ..Default::default()
                        },
                    )),
                    ..Default::default()
                }],
                ..Default::default()
            },
        )),
        ..Default::default()
    });
    SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(AGENT.clone()),
    }
}

fn socket(context: Any) -> core::TransportSocket {
    core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(context)),
    }
}
