//! The sockets of a server. All are bound before anything else starts, so that a wrong address ends the start.

use std::net::SocketAddr;

use anyhow::Context as _;
use reef_kube::Cluster;
use tokio::net::{TcpListener, TcpSocket};

use super::settings::Settings;

/// Connections that wait to be accepted; the kernel takes `net.core.somaxconn` if that is less. After a restart all
/// proxies come at once: with the usual 128, of 1,000 most had to try again a second later and some were reset.
const BACKLOG: u32 = 4096;

/// Bound sockets.
#[derive(Debug)]
pub(super) struct Ports {
    /// Plaintext xDS.
    pub(super) grpc: TcpListener,
    /// xDS over TLS.
    pub(super) secure: Option<TcpListener>,
    /// Readiness and debug pages.
    pub(super) http: TcpListener,
    /// The same, and metrics.
    pub(super) monitoring: TcpListener,
    /// Admission webhooks.
    pub(super) https: Option<TcpListener>,
    /// Where all of them are.
    pub(super) addresses: Addresses,
}

/// Addresses of the sockets; a port that was 0 is the one the kernel chose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) grpc: SocketAddr,
    pub(super) secure: Option<SocketAddr>,
    pub(super) http: SocketAddr,
    pub(super) monitoring: SocketAddr,
    pub(super) https: Option<SocketAddr>,
}

impl Ports {
    /// Binds the ports of `settings`; the one for webhooks only with `hooks`.
    pub(super) fn bind(
        settings: &Settings,
        cluster: Option<&Cluster>,
        hooks: bool,
    ) -> anyhow::Result<Self> {
        let (grpc, grpc_addr) = bind("--grpc-addr", settings.grpc_addr)?;
        let (http, http_addr) = bind("--http-addr", settings.http_addr)?;
        let (monitoring, monitoring_addr) = bind("--monitoring-addr", settings.monitoring_addr)?;
        let https = settings.webhooks.https_addr.filter(|_| hooks);
        let (https, https_addr) = bind_some("--https-addr", https)?;
        let secure = settings.channel.address(cluster);
        let (secure, secure_addr) = bind_some("--secure-grpc-addr", secure)?;
        Ok(Self {
            grpc,
            secure,
            http,
            monitoring,
            https,
            addresses: Addresses {
                grpc: grpc_addr,
                secure: secure_addr,
                http: http_addr,
                monitoring: monitoring_addr,
                https: https_addr,
            },
        })
    }
}

fn bind(option: &str, addr: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = listen(addr).with_context(|| format!("{option} {addr} cannot be bound"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn bind_some(
    option: &str,
    addr: Option<SocketAddr>,
) -> anyhow::Result<(Option<TcpListener>, Option<SocketAddr>)> {
    let bound = addr.map(|addr| bind(option, addr)).transpose()?;
    Ok(bound.unzip())
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // As `TcpListener::bind` does, so that a restart need not wait for old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests;
