//! Addresses of services and endpoints.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// An IP range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// First address as written (host bits are kept).
    pub ip: IpAddr,
    /// Prefix length in bits, 0-32 or 0-128.
    pub prefix: u8,
}

impl Cidr {
    /// Parses `ip/prefix`; `None` if either part is not valid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, prefix) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let widest = if ip.is_ipv4() { 32 } else { 128 };
        (prefix <= widest).then_some(Self { ip, prefix })
    }

    /// True if `ip` is in the range.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let apart = own.to_bits() ^ ip.to_bits();
                apart.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let apart = own.to_bits() ^ ip.to_bits();
                apart.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// Where a service listens virtually, or where an endpoint really is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// One IP address.
    Ip(IpAddr),
    /// A range; only services have these.
    Cidr(Cidr),
    /// A name to resolve; only endpoints of DNS services have these.
    Host(Arc<str>),
    /// A Unix socket path; only endpoints have these.
    Pipe(Arc<str>),
}

impl Address {
    /// Reads an address as configuration writes it: `unix://…`, IP, IP/prefix, else a host name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Some(path) = text.strip_prefix("unix://") {
            return Self::Pipe(Arc::from(path));
        }
        if let Ok(ip) = text.parse() {
            return Self::Ip(ip);
        }
        Cidr::parse(text).map_or_else(|| Self::Host(Arc::from(text)), Self::Cidr)
    }

    /// True if there is none: an endpoint without address is reached through the gateway of its network only.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        matches!(self, Self::Host(name) if name.is_empty())
    }

    /// The IP address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Cidr(_) | Self::Host(_) | Self::Pipe(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Cidr(cidr) => cidr.fmt(f),
            Self::Host(host) => f.write_str(host),
            Self::Pipe(path) => write!(f, "unix://{path}"),
        }
    }
}
