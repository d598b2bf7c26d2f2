//! `Gateway` of Istio and the TLS settings of servers.

use crate::labels::Labels;

api_structs! {
    /// A `Gateway`.
    pub struct Gateway {
        /// Servers.
        pub servers: Vec<Server>,
        /// Labels of the gateway's pods.
        pub selector: Labels,
    }

    /// `Server`.
    pub struct Server {
        /// Port.
        pub port: Option<ServerPort>,
        /// Address to bind.
        pub bind: Option<String>,
        /// `namespace/dnsName` or `dnsName` entries.
        pub hosts: Vec<String>,
        /// TLS.
        pub tls: Option<ServerTlsSettings>,
        /// Accepted and without effect, as in Istio.
        pub default_endpoint: Option<String>,
        /// Name.
        pub name: Option<String>,
    }

    /// `Port` of a server.
    pub struct ServerPort {
        /// Number.
        pub number: u32,
        /// Protocol.
        pub protocol: String,
        /// Name.
        pub name: String,
        /// Accepted and without effect, as in Istio.
        pub target_port: Option<u32>,
    }

    /// `ServerTLSSettings`.
    pub struct ServerTlsSettings {
        /// Whether plain HTTP is redirected.
        pub https_redirect: bool,
        /// Mode.
        pub mode: ServerTlsMode,
        /// File of the certificate.
        pub server_certificate: Option<String>,
        /// File of the key.
        pub private_key: Option<String>,
        /// File of the authorities of clients.
        pub ca_certificates: Option<String>,
        /// File of revoked certificates.
        pub ca_crl: Option<String>,
        /// Secret with all of these.
        pub credential_name: Option<String>,
        /// Secrets, one per key type.
        pub credential_names: Vec<String>,
        /// Secret of the authorities of clients.
        pub ca_cert_credential_name: Option<String>,
        /// Certificates, one per key type.
        pub tls_certificates: Vec<TlsCertificate>,
        /// Names a client's certificate must have.
        pub subject_alt_names: Vec<String>,
        /// Allowed SPKI hashes.
        pub verify_certificate_spki: Vec<String>,
        /// Allowed certificate hashes.
        pub verify_certificate_hash: Vec<String>,
        /// Oldest protocol.
        pub min_protocol_version: TlsProtocol,
        /// Newest protocol.
        pub max_protocol_version: TlsProtocol,
        /// Allowed ciphers.
        pub cipher_suites: Vec<String>,
    }

    /// `ServerTLSSettings.TLSCertificate`.
    pub struct TlsCertificate {
        /// File of the certificate.
        pub server_certificate: Option<String>,
        /// File of the key.
        pub private_key: Option<String>,
        /// File of the authorities of clients.
        pub ca_certificates: Option<String>,
    }
}

api_enum! {
    /// `ServerTLSSettings.TLSmode`.
    pub enum ServerTlsMode {
        /// Not terminated, routed by server name.
        Passthrough = "PASSTHROUGH",
        /// TLS.
        Simple = "SIMPLE",
        /// TLS with client certificates.
        Mutual = "MUTUAL",
        /// Not terminated, routed by server name to the registry.
        AutoPassthrough = "AUTO_PASSTHROUGH",
        /// TLS with the workload's certificate and client certificates.
        IstioMutual = "ISTIO_MUTUAL",
        /// TLS with client certificates that may be absent.
        OptionalMutual = "OPTIONAL_MUTUAL",
    } default Passthrough
}

api_enum! {
    /// `ServerTLSSettings.TLSProtocol`.
    pub enum TlsProtocol {
        /// As the proxy says.
        TlsAuto = "TLS_AUTO",
        /// TLS 1.0.
        TlsV1_0 = "TLSV1_0",
        /// TLS 1.1.
        TlsV1_1 = "TLSV1_1",
        /// TLS 1.2.
        TlsV1_2 = "TLSV1_2",
        /// TLS 1.3.
        TlsV1_3 = "TLSV1_3",
    } default TlsAuto
}
