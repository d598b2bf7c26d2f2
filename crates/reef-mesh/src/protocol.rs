//! Which protocol a service port speaks, and how names select it.

/// The protocol of a service port, as its declaration selects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// An explicit HTTP proxy port of a `Sidecar` egress listener.
    HttpProxy,
    /// Opaque TCP.
    Tcp,
    /// TLS that carries HTTP; opaque here.
    Https,
    /// TLS.
    Tls,
    /// MongoDB; opaque here.
    Mongo,
    /// Redis; opaque here.
    Redis,
    /// MySQL; the server speaks first.
    MySql,
    /// UDP: no outbound resource is made for it.
    Udp,
    /// Not declared: the proxy detects it.
    Auto,
}

impl Protocol {
    /// Returns the protocol a token such as `http2` names; unknown tokens are [`Protocol::Auto`].
    ///
    /// This is the rule of `ServiceEntry`, `Sidecar` and `Gateway` ports.
    #[must_use]
    pub fn from_token(token: &str) -> Self {
        const TOKENS: [(&str, Protocol); 12] = [
            ("http", Protocol::Http),
            ("http2", Protocol::Http2),
            ("grpc", Protocol::Grpc),
            ("grpc-web", Protocol::GrpcWeb),
            ("http_proxy", Protocol::HttpProxy),
            ("tcp", Protocol::Tcp),
            ("https", Protocol::Https),
            ("tls", Protocol::Tls),
            ("mongo", Protocol::Mongo),
            ("redis", Protocol::Redis),
            ("mysql", Protocol::MySql),
            ("udp", Protocol::Udp),
        ];
        TOKENS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(token))
            .map_or(Self::Auto, |(_, protocol)| *protocol)
    }

    /// Returns the protocol of a Kubernetes service port.
    ///
    /// `transport` is the port's `protocol`; `app_protocol` wins over the name, even if it means
    /// nothing. Undeclared ports 25, 53, 3306 and 27017 are TCP, because there the server speaks
    /// first and detection would wait for the client.
    #[must_use]
    pub fn of_kubernetes_port(
        port: u16,
        name: &str,
        transport: Option<&str>,
        app_protocol: Option<&str>,
    ) -> Self {
        if transport.is_some_and(|t| t.eq_ignore_ascii_case("UDP")) {
            return Self::Udp;
        }
        if let Some(known) = app_protocol.and_then(|app| match app {
            "kubernetes.io/h2c" => Some(Self::Http2),
            "kubernetes.io/ws" => Some(Self::Http),
            "kubernetes.io/wss" => Some(Self::Https),
            _ => None,
        }) {
            return known;
        }
        let selector = app_protocol.unwrap_or(name);
        let grpc_web = "grpc-web";
        if selector
            .get(..grpc_web.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(grpc_web))
        {
            return Self::GrpcWeb;
        }
        let token = selector.split('-').next().unwrap_or(selector);
        match Self::from_token(token) {
            Self::Auto if matches!(port, 25 | 53 | 3306 | 27017) => Self::Tcp,
            protocol => protocol,
        }
    }

    /// True if proxies handle it as HTTP without detection.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(
            self,
            Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::HttpProxy
        )
    }

    /// True if upstream connections use HTTP/2.
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// True if the application itself speaks TLS on it.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// True if proxies handle it as opaque TCP without detection; TLS ports included.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            Self::Tcp | Self::Https | Self::Tls | Self::Mongo | Self::Redis | Self::MySql
        )
    }

    /// True if it was not declared, so that proxies detect it.
    #[must_use]
    pub fn is_auto(self) -> bool {
        self == Self::Auto
    }
}
