//! The sets of filter chains of an inbound port, by mTLS mode and protocol.

use reef_mesh::{MtlsMode, Protocol};

use crate::xds::listener::PLAINTEXT_HTTP;

/// What a port's chains tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortKind {
    /// HTTP or not is detected.
    Detected,
    /// Declared HTTP.
    Http,
    /// Declared something else.
    Tcp,
}

impl PortKind {
    /// Kind of a port of this protocol. UDP never arrives, yet has the chains of TCP.
    pub(crate) fn of(protocol: Protocol) -> Self {
        if protocol.is_auto() {
            Self::Detected
        } else if protocol.is_http() {
            Self::Http
        } else {
            Self::Tcp
        }
    }
}

/// Transport protocol a chain is for, as listener filters detect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Plaintext, or anything where TLS is not looked for.
    RawBuffer,
    /// TLS.
    Tls,
}

/// What a chain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    /// Requests.
    Http,
    /// Bytes.
    Tcp,
}

/// One chain of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainShape {
    /// Application protocols it is for; none means all.
    pub alpn: &'static [&'static str],
    /// Transport protocol it is for.
    pub transport: Transport,
    /// Terminates TLS with the workload's certificate.
    pub mtls: bool,
    /// What it does.
    pub handler: Handler,
}

impl ChainShape {
    /// True if it needs plaintext HTTP to be detected.
    pub(crate) fn detects_http(&self) -> bool {
        self.alpn == PLAINTEXT_HTTP
    }
}

/// What clients with Istio's ALPN filter offer for HTTP.
const MESH_HTTP: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What clients offer for bytes.
const MESH_TCP: &[&str] = &["istio-peer-exchange", "istio"];
/// All of it.
const MESH: &[&str] = &[
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];
const ANY: &[&str] = &[];

const fn mesh(alpn: &'static [&'static str], handler: Handler) -> ChainShape {
    ChainShape {
        alpn,
        transport: Transport::Tls,
        mtls: true,
        handler,
    }
}

const fn plain(alpn: &'static [&'static str], handler: Handler) -> ChainShape {
    ChainShape {
        alpn,
        transport: Transport::RawBuffer,
        mtls: false,
        handler,
    }
}

/// TLS of others, whose bytes are passed on.
const FOREIGN: ChainShape = ChainShape {
    alpn: ANY,
    transport: Transport::Tls,
    mtls: false,
    handler: Handler::Tcp,
};

const DETECTED_HTTP: ChainShape = plain(&PLAINTEXT_HTTP, Handler::Http);

/// The chains of a port, in the order they are sent.
pub(crate) fn shapes(mode: MtlsMode, kind: PortKind) -> &'static [ChainShape] {
    use Handler::{Http, Tcp};
    const PERMISSIVE_DETECTED: &[ChainShape] = &[
        mesh(MESH_HTTP, Http),
        DETECTED_HTTP,
        mesh(MESH_TCP, Tcp),
        plain(ANY, Tcp),
        FOREIGN,
    ];
    const PERMISSIVE_HTTP: &[ChainShape] = &[mesh(MESH, Http), plain(ANY, Http)];
    const PERMISSIVE_TCP: &[ChainShape] = &[mesh(MESH, Tcp), FOREIGN, plain(ANY, Tcp)];
    const STRICT_DETECTED: &[ChainShape] = &[mesh(MESH_HTTP, Http), mesh(ANY, Tcp)];
    const STRICT_HTTP: &[ChainShape] = &[mesh(ANY, Http)];
    const STRICT_TCP: &[ChainShape] = &[mesh(ANY, Tcp)];
    const DISABLE_DETECTED: &[ChainShape] = &[DETECTED_HTTP, plain(ANY, Tcp)];
    const DISABLE_HTTP: &[ChainShape] = &[plain(ANY, Http)];
    const DISABLE_TCP: &[ChainShape] = &[plain(ANY, Tcp)];
    match (mode, kind) {
        (MtlsMode::Permissive, PortKind::Detected) => PERMISSIVE_DETECTED,
        (MtlsMode::Permissive, PortKind::Http) => PERMISSIVE_HTTP,
        (MtlsMode::Permissive, PortKind::Tcp) => PERMISSIVE_TCP,
        (MtlsMode::Strict, PortKind::Detected) => STRICT_DETECTED,
        (MtlsMode::Strict, PortKind::Http) => STRICT_HTTP,
        (MtlsMode::Strict, PortKind::Tcp) => STRICT_TCP,
        (MtlsMode::Disable, PortKind::Detected) => DISABLE_DETECTED,
        (MtlsMode::Disable, PortKind::Http) => DISABLE_HTTP,
        (MtlsMode::Disable, PortKind::Tcp) => DISABLE_TCP,
    }
}
