//! Addresses of listeners, ranges of addresses.

use std::net::{IpAddr, Ipv6Addr};

use xds_api::envoy::config::core::v3::address::Address as Kind;
use xds_api::envoy::config::core::v3::socket_address::PortSpecifier;
use xds_api::envoy::config::core::v3::{Address, CidrRange};
use xds_api::envoy::config::listener::v3::Listener;

/// Address and port, if it is one.
pub(crate) fn socket(address: Option<&Address>) -> Option<(IpAddr, u16)> {
    match address?.address.as_ref()? {
        Kind::SocketAddress(socket) => {
            let ip = socket.address.parse().ok()?;
            Some((ip, port(socket.port_specifier.as_ref())?))
        }
        Kind::Pipe(_) | Kind::EnvoyInternalAddress(_) => None,
    }
}

fn port(specifier: Option<&PortSpecifier>) -> Option<u16> {
    match specifier? {
        PortSpecifier::PortValue(port) => u16::try_from(*port).ok(),
        PortSpecifier::NamedPort(_) => None,
    }
}

/// An address for people: `ip:port`, a path, a name.
pub(crate) fn shown(address: &Address) -> String {
    match &address.address {
        Some(Kind::SocketAddress(socket)) => {
            let port = port(socket.port_specifier.as_ref()).unwrap_or_default();
            if socket.address.contains(':') {
                format!("[{}]:{port}", socket.address)
            } else {
                format!("{}:{port}", socket.address)
            }
        }
        Some(Kind::Pipe(pipe)) => pipe.path.clone(),
        Some(Kind::EnvoyInternalAddress(_)) | None => "?".to_owned(),
    }
}

/// Every address a listener has.
pub(crate) fn of_listener(listener: &Listener) -> Vec<(IpAddr, u16)> {
    let more = listener.additional_addresses.iter();
    let more = more.filter_map(|one| socket(one.address.as_ref()));
    socket(listener.address.as_ref())
        .into_iter()
        .chain(more)
        .collect()
}

/// A range as its first address and length, or none if it is not one.
pub(crate) fn range(range: &CidrRange) -> Option<(IpAddr, u32)> {
    let address: IpAddr = range.address_prefix.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    Some((address, range.prefix_len.unwrap_or(0).min(most)))
}

/// Whether a range has an address.
pub(crate) fn contains(range: (IpAddr, u32), address: IpAddr) -> bool {
    match (range.0, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - range.1.min(32)).unwrap_or(0);
            u32::from(first) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - range.1.min(128)).unwrap_or(0);
            bits(first) & mask == bits(address) & mask
        }
        _ => false,
    }
}

fn bits(address: Ipv6Addr) -> u128 {
    u128::from(address)
}
