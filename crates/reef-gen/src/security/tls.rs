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
    TlsCertificate, TlsParameters, UpstreamTlsContext,
    common_tls_context::CombinedCertificateValidationContext,
    common_tls_context::ValidationContextType, tls_parameters::TlsProtocol,
};
use xds_api::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use crate::cluster::AutoSni;
use crate::xds;

/// Cluster of the agent's secrets in its bootstrap.
const SDS_CLUSTER: &str = "sds-grpc";
/// Name of the workload's certificate.
const CERTIFICATE: &str = "default";
/// Name of the mesh's roots.
const ROOTS: &str = "ROOTCA";
/// Authorities the system trusts, where most distributions have them.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

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
            trust_domains: settings.client_domains.clone(),
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

/// TLS of a rule, with files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileTls {
    /// The proxy reads the files itself: there is no agent that would.
    pub inline: bool,
    /// Server name.
    pub sni: Option<Arc<str>>,
    /// Server names follow requests.
    pub auto_sni: Option<AutoSni>,
    /// Names a server may have, sorted; none means any.
    pub names: Arc<[Arc<str>]>,
    /// File of the authorities; `None` is the system's bundle.
    pub authorities: Option<Arc<str>>,
    /// File of revoked certificates.
    pub revoked: Option<Arc<str>>,
    /// Files of the client's certificate and key.
    pub client: Option<(Arc<str>, Arc<str>)>,
    /// Servers are not checked.
    pub skip_verify: bool,
    pub limits: Arc<TlsLimits>,
}

/// The transport socket of connections secured with files of a rule.
pub(crate) fn file_tls(tls: &FileTls, http2: bool) -> core::TransportSocket {
    let names = tls
        .names
        .iter()
        .map(|name| MatchPattern::Exact(name.to_string()));
    let texts = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
    let mut common = CommonTlsContext {
        tls_params: Some(TlsParameters {
            cipher_suites: texts(&tls.limits.ciphers),
            ecdh_curves: texts(&tls.limits.curves),
            ..protocols(TlsProtocol::TlSv12)
        }),
        alpn_protocols: http2.then(|| "h2".to_owned()).into_iter().collect(),
        ..Default::default()
    };
    let authorities = tls.authorities.as_deref();
    common.validation_context_type = Some(if tls.skip_verify {
        ValidationContextType::ValidationContext(CertificateValidationContext::default())
    } else {
        let mut accepted = CertificateValidationContext {
            crl: tls.revoked.as_deref().map(file),
            ..accepted(names)
        };
        if tls.inline {
            accepted.trusted_ca = Some(file(authorities.unwrap_or(SYSTEM_BUNDLE)));
            ValidationContextType::ValidationContext(accepted)
        } else {
            let name = format!("file-root:{}", authorities.unwrap_or("system"));
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                default_validation_context: Some(accepted),
                validation_context_sds_secret_config: Some(file_secret(name)),
                ..Default::default()
            })
        }
    });
    if let Some((chain, key)) = &tls.client {
        if tls.inline {
            common.tls_certificates = vec![TlsCertificate {
                certificate_chain: Some(file(chain)),
                private_key: Some(file(key)),
                ..Default::default()
            }];
        } else {
            let name = format!("file-cert:{chain}~{key}");
            common.tls_certificate_sds_secret_configs = vec![file_secret(name)];
        }
    }
    socket(Any::pack(&UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: tls.sni.as_deref().unwrap_or_default().to_owned(),
        ..Default::default()
    }))
}

fn file(name: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(name.to_owned())),
        ..Default::default()
    }
}

/// A secret the agent reads from files. It may not be there, so the wait for it ends.
fn file_secret(name: String) -> SdsSecretConfig {
    let mut secret = secret(&name);
    if let Some(source) = &mut secret.sds_config {
        source.initial_fetch_timeout = None;
    }
    secret
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
    CommonTlsContext {
        tls_certificate_sds_secret_configs: vec![secret(CERTIFICATE)],
        alpn_protocols: alpn.iter().map(|name| (*name).to_owned()).collect(),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(accepted(names)),
                validation_context_sds_secret_config: Some(secret(ROOTS)),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn accepted(names: impl Iterator<Item = MatchPattern>) -> CertificateValidationContext {
    CertificateValidationContext {
        match_subject_alt_names: names
            .map(|pattern| StringMatcher {
                match_pattern: Some(pattern),
                ..Default::default()
            })
            .collect(),
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
