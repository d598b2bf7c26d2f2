//! Connection pools: limits, timeouts and the HTTP version towards a host.

use std::time::Duration;

use reef_config::istio::{
    ConnectionPoolSettings, H2UpgradePolicy, HttpConnectionPool, RetryBudget, TcpConnectionPool,
};
use reef_mesh::{Keepalive, Protocol};
use xds_api::envoy::config::cluster::v3::{self as cds, circuit_breakers::thresholds};
use xds_api::envoy::r#type::v3::Percent;

use crate::xds;

/// How long the answer to a ping may take if a pool does not say: Envoy demands some limit.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection pool as Envoy is told of it: what is zero in the API is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pool {
    pub connect_timeout: Option<Duration>,
    pub keepalive: Option<Keepalive>,
    max_connections: Option<u32>,
    max_pending: Option<u32>,
    max_requests: Option<u32>,
    max_retries: Option<u32>,
    pub http: HttpLimits,
    /// HTTP/2 whatever the port says, or never unless it says so; `None` is as the mesh has it.
    pub upgrade: Option<bool>,
    /// The client's HTTP version is kept.
    pub client_protocol: bool,
}

/// What of a pool the HTTP options say.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HttpLimits {
    pub idle: Option<Duration>,
    pub max_duration: Option<Duration>,
    pub requests_per_connection: Option<u32>,
    /// Only told to ports that speak HTTP/2 by their protocol, as the next.
    pub max_streams: Option<u32>,
    /// Time between pings, and for an answer.
    pub ping: Option<(Option<Duration>, Duration)>,
}

/// Share of requests that may be retries, in the exact bits of the percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Budget {
    percent: u64,
    least: u32,
    interval: Option<Duration>,
}

impl Pool {
    pub(crate) fn of(settings: &ConnectionPoolSettings) -> Self {
        let mut pool = Self::default();
        if let Some(http) = &settings.http {
            pool.add_http(http);
        }
        if let Some(tcp) = &settings.tcp {
            pool.add_tcp(tcp);
        }
        pool
    }

    fn add_http(&mut self, http: &HttpConnectionPool) {
        self.max_pending = limit(http.http1_max_pending_requests);
        self.max_requests = limit(http.http2_max_requests);
        self.max_retries = limit(http.max_retries);
        self.http.requests_per_connection = limit(http.max_requests_per_connection);
        self.http.idle = http.idle_timeout.map(|time| time.0);
        self.http.max_streams = limit(http.max_concurrent_streams);
        self.http.ping = http.http2_keep_alive.as_ref().map(|ping| {
            let timeout = ping.timeout.map_or(PING_TIMEOUT, |time| time.0);
            (ping.interval.map(|time| time.0), timeout)
        });
        self.upgrade = match http.h2_upgrade_policy.unwrap_or_default() {
            H2UpgradePolicy::Default => None,
            H2UpgradePolicy::DoNotUpgrade => Some(false),
            H2UpgradePolicy::Upgrade => Some(true),
        };
        self.client_protocol = http.use_client_protocol == Some(true);
    }

    fn add_tcp(&mut self, tcp: &TcpConnectionPool) {
        self.connect_timeout = tcp.connect_timeout.map(|time| time.0);
        self.max_connections = limit(tcp.max_connections);
        self.http.max_duration = tcp.max_connection_duration.map(|time| time.0);
        let idle = tcp.idle_timeout.map(|time| time.0);
        self.http.idle = self.http.idle.or(idle);
        self.keepalive = tcp.tcp_keepalive.as_ref().map(|keepalive| Keepalive {
            probes: keepalive.probes,
            time: keepalive.time.map(|time| time.0),
            interval: keepalive.interval.map(|interval| interval.0),
        });
    }

    /// The one threshold of a cluster: no limit but those given. Envoy's own defaults (1,024
    /// connections, 3 retries) would bite silently.
    pub(crate) fn breakers(&self, budget: Option<Budget>) -> cds::CircuitBreakers {
        let or_none = |limit: Option<u32>| Some(limit.unwrap_or(u32::MAX));
        cds::CircuitBreakers {
            thresholds: vec![cds::circuit_breakers::Thresholds {
                max_connections: or_none(self.max_connections),
                max_pending_requests: or_none(self.max_pending),
                max_requests: or_none(self.max_requests),
                max_retries: or_none(self.max_retries),
                retry_budget: budget.map(Budget::message),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Keep-alive of connections: the pool's over the mesh's, field by field.
    pub(crate) fn keepalive(&self, mesh: Option<&Keepalive>) -> Option<Keepalive> {
        let Some(own) = self.keepalive else {
            return mesh.copied();
        };
        Some(mesh.map_or(own, |mesh| Keepalive {
            probes: own.probes.or(mesh.probes),
            time: own.time.or(mesh.time),
            interval: own.interval.or(mesh.interval),
        }))
    }

    /// True if requests are sent in HTTP/2 although the port does not say so. The mesh upgrades
    /// only ports declared HTTP; whoever asks for it by rule knows the port.
    pub(crate) fn upgrades(&self, mesh: bool, declared_http: bool) -> bool {
        !self.client_protocol && self.upgrade.unwrap_or(mesh && declared_http)
    }
}

impl HttpLimits {
    /// True if the options are as without limits. Streams are limited only where there are options
    /// for HTTP/2 anyway.
    pub(crate) fn says_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Without what a port of this protocol does not know.
    pub(crate) fn for_protocol(&self, protocol: Protocol) -> Self {
        if protocol.is_http2() {
            return self.clone();
        }
        Self {
            max_streams: None,
            ping: None,
            ..self.clone()
        }
    }
}

impl Budget {
    pub(crate) fn of(budget: &RetryBudget) -> Self {
        Self {
            percent: budget.percent.unwrap_or(20.0).to_bits(),
            least: budget.min_retry_concurrency.unwrap_or(3),
            interval: budget.interval.map(|time| time.0),
        }
    }

    fn message(self) -> thresholds::RetryBudget {
        thresholds::RetryBudget {
            budget_percent: Some(Percent {
                value: f64::from_bits(self.percent),
            }),
            min_retry_concurrency: Some(self.least),
            budget_interval: self.interval.map(xds::duration),
        }
    }
}

/// A limit of the API: unset and zero are one.
fn limit(value: Option<i32>) -> Option<u32> {
    value
        .and_then(|value| u32::try_from(value).ok())
        .filter(|value| *value > 0)
}
