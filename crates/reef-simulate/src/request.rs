//! The question.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::headers::Headers;

/// One request, or one connection, as the application beside the proxy makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Whether the application calls, or is called.
    pub direction: Direction,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where the connection goes; if absent, the address that `host` (or `sni`) has in the
    /// configuration, else some address that is nobody's.
    pub to: Option<IpAddr>,
    /// The port it goes to.
    pub port: u16,
    /// The `Host` header or `:authority`; may have a port.
    pub host: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Further headers.
    pub headers: Headers,
    /// Server name in TLS.
    pub sni: Option<String>,
    /// Application protocols offered in TLS.
    pub alpn: Vec<String>,
    /// Where the connection comes from.
    pub from: Option<IpAddr>,
    /// The listener that is called directly, as the ones at sockets in files are.
    pub listener: Option<String>,
}

/// Which way through the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the application to others.
    #[default]
    Outbound,
    /// From others to the application.
    Inbound,
}

/// What is spoken on the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "http")]
    Http,
    /// HTTP/1.0.
    #[serde(rename = "http/1.0")]
    Http10,
    /// HTTP/2 without TLS.
    #[serde(rename = "http2")]
    Http2,
    /// Anything that is neither HTTP nor TLS.
    #[serde(rename = "tcp")]
    Tcp,
    /// TLS; what is inside is HTTP/1.1 if the proxy reads it.
    #[serde(rename = "tls")]
    Tls,
}

impl Protocol {
    /// What HTTP's inspector says of it.
    pub(crate) fn plain_alpn(self) -> Option<&'static str> {
        match self {
            Self::Http => Some("http/1.1"),
            Self::Http10 => Some("http/1.0"),
            Self::Http2 => Some("h2c"),
            Self::Tcp | Self::Tls => None,
        }
    }

    /// The value of `%PROTOCOL%`.
    pub(crate) fn http_name(self) -> &'static str {
        match self {
            Self::Http2 => "HTTP/2",
            Self::Http10 => "HTTP/1.0",
            Self::Http | Self::Tcp | Self::Tls => "HTTP/1.1",
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            direction: Direction::default(),
            protocol: Protocol::default(),
            to: None,
            port: 80,
            host: String::new(),
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: Headers::default(),
            sni: None,
            alpn: Vec::new(),
            from: None,
            listener: None,
        }
    }
}
