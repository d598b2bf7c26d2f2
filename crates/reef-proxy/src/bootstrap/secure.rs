//! The encrypted channel to Reef: TLS with Reef's authority, and the pod's token on every stream.
//!
//! Envoy reads token and authority from files of its own secret discovery, not by name from the bootstrap: only so does
//! a rotated token reach the next stream, and a changed authority the next connection.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{BootstrapError, DiscoveryAddress};

/// Where a pod's own token for the control plane usually is.
pub const TOKEN_FILE: &str = "/var/run/secrets/tokens/istio-token";

/// Name of the file that tells where the token is, beside the bootstrap.
const TOKEN_SDS: &str = "token.json";

/// Name of the file with the authority, or that tells where it is, beside the bootstrap.
const CA_SDS: &str = "ca.json";

/// How the proxy and Reef know each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureChannel {
    /// The name that Reef's certificate must have.
    pub server_name: String,
    /// File with the pod's token; its directory is watched, so that a rotated one is used.
    pub token_file: PathBuf,
    /// Whom to believe that Reef is Reef.
    pub authority: Authority,
    /// Directory of [`SecureChannel::files`], as the proxy sees it.
    pub dir: PathBuf,
}

/// Whom to believe that Reef is Reef.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// A file with certificates, which is watched.
    File(PathBuf),
    /// The certificates, in PEM.
    Inline(String),
}

impl SecureChannel {
    /// A channel to `discovery`, whose certificate has the name it is reached by unless another is given.
    ///
    /// # Errors
    /// [`BootstrapError::ServerName`] if it is reached by an address and no name is given.
    pub fn new(
        discovery: &DiscoveryAddress,
        server_name: Option<&str>,
        token_file: PathBuf,
        authority: Authority,
        dir: PathBuf,
    ) -> Result<Self, BootstrapError> {
        let server_name = match server_name {
            Some(name) => name,
            None if discovery.host.parse::<IpAddr>().is_ok() => {
                return Err(BootstrapError::ServerName(discovery.host.clone()));
            }
            None => &discovery.host,
        };
        Ok(Self {
            server_name: server_name.to_owned(),
            token_file,
            authority,
            dir,
        })
    }

    /// The two files the bootstrap refers to, by name; they stand in [`Self::dir`] and never change.
    #[must_use]
    pub fn files(&self) -> [(&'static str, Value); 2] {
        let trusted = match &self.authority {
            Authority::File(path) => json!({ "filename": path }),
            Authority::Inline(pem) => json!({ "inline_string": pem }),
        };
        let secret = |content: Value| {
            let mut secret = content;
            secret["@type"] = json!(format!("{TLS}.Secret"));
            json!({ "resources": [secret] })
        };
        [
            (
                TOKEN_SDS,
                secret(json!({
                    "name": "token",
                    "generic_secret": { "secret": { "filename": self.token_file } },
                })),
            ),
            (
                CA_SDS,
                secret(json!({
                    "name": "ca",
                    "validation_context": {
                        "trusted_ca": trusted,
                        "match_typed_subject_alt_names": [{
                            "san_type": "DNS",
                            "matcher": { "exact": self.server_name },
                        }],
                    },
                })),
            ),
        ]
    }

    /// Adds token and TLS to the cluster through which Envoy reaches Reef.
    pub(super) fn add_to(&self, cluster: &mut Value) {
        let options = &mut cluster["typed_extension_protocol_options"];
        options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"] = json!([
            {
                "name": "envoy.filters.http.credential_injector",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3\
                              .CredentialInjector",
                    "overwrite": true,
                    "credential": {
                        "name": "envoy.http.injected_credentials.generic",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials\
                                      .generic.v3.Generic",
                            "credential": self.reference("token", TOKEN_SDS),
                            "header": "authorization",
                            "header_value_prefix": "Bearer ",
                        },
                    },
                },
            },
            {
                "name": "envoy.filters.http.upstream_codec",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3\
                              .UpstreamCodec",
                },
            },
        ]);
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": format!("{TLS}.UpstreamTlsContext"),
                "sni": self.server_name,
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    // Without a maximum Envoy's upstream connections stay at 1.2, which Reef does not speak.
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_3",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "validation_context_sds_secret_config": self.reference("ca", CA_SDS),
                },
            },
        });
    }

    fn reference(&self, name: &str, file: &str) -> Value {
        json!({
            "name": name,
            "sds_config": {
                "path_config_source": { "path": self.dir.join(Path::new(file)) },
                "resource_api_version": "V3",
            },
        })
    }
}

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
