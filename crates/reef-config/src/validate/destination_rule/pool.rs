//! `connectionPool`, which a `Sidecar` has too.

use super::super::check::Check;
use crate::istio::{ConnectionPoolSettings, H2UpgradePolicy};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::DestinationRule, Kind::Sidecar];
    Error EMPTY "pool-empty" "A connection pool has tcp or http";
    Error PENDING "pool-pending" "http1MaxPendingRequests is not negative";
    Error REQUESTS "pool-requests" "http2MaxRequests is not negative";
    Error PER_CONNECTION "pool-requests-per-connection" "maxRequestsPerConnection is not negative";
    Error RETRIES "pool-retries" "maxRetries is not negative";
    Error STREAMS "pool-streams" "maxConcurrentStreams is not negative";
    Error HTTP_IDLE "pool-http-idle" "The idleTimeout of http is at least 1ms and whole milliseconds";
    Error UPGRADE "pool-upgrade" "useClientProtocol does not go with h2UpgradePolicy UPGRADE";
    Error CONNECTIONS "pool-connections" "maxConnections is not negative";
    Error CONNECT "pool-connect-timeout" "connectTimeout is at least 1ms and whole milliseconds";
    Error DURATION "pool-connection-duration" "maxConnectionDuration is at least 1ms and whole milliseconds";
    Error TCP_IDLE "pool-tcp-idle" "The idleTimeout of tcp is at least 1ms and whole milliseconds";
    Error KEEPALIVE_TIME "pool-keepalive-time" "The time of tcpKeepalive is at least 1ms and whole milliseconds";
    Error KEEPALIVE_INTERVAL "pool-keepalive-interval" "The interval of tcpKeepalive is at least 1ms and whole milliseconds";
}

/// Checks a pool that is there.
pub(in super::super) fn check(
    check: &mut Check<'_>,
    at: &Path<'_>,
    settings: Option<&ConnectionPoolSettings>,
) {
    let Some(settings) = settings else { return };
    if settings.tcp.is_none() && settings.http.is_none() {
        check.tell(&EMPTY, at, "one of tcp and http is needed");
    }
    let negative = "must not be negative";
    if let Some(http) = &settings.http {
        let at = at.key("http");
        for (rule, field, value) in [
            (
                &PENDING,
                "http1MaxPendingRequests",
                http.http1_max_pending_requests,
            ),
            (&REQUESTS, "http2MaxRequests", http.http2_max_requests),
            (
                &PER_CONNECTION,
                "maxRequestsPerConnection",
                http.max_requests_per_connection,
            ),
            (&RETRIES, "maxRetries", http.max_retries),
            (
                &STREAMS,
                "maxConcurrentStreams",
                http.max_concurrent_streams,
            ),
        ] {
            let broken = value.is_some_and(|value| value < 0);
            check.tell_if(broken, rule, &at.key(field), negative);
        }
        check.duration(&HTTP_IDLE, &at.key("idleTimeout"), http.idle_timeout);
        let upgrade = http.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade);
        let both = upgrade && http.use_client_protocol.unwrap_or_default();
        let reason = "with h2UpgradePolicy UPGRADE the protocol of the client is not kept";
        check.tell_if(both, &UPGRADE, &at.key("useClientProtocol"), reason);
    }
    if let Some(tcp) = &settings.tcp {
        let at = at.key("tcp");
        let broken = tcp.max_connections.is_some_and(|most| most < 0);
        check.tell_if(broken, &CONNECTIONS, &at.key("maxConnections"), negative);
        check.duration(&CONNECT, &at.key("connectTimeout"), tcp.connect_timeout);
        let longest = tcp.max_connection_duration;
        check.duration(&DURATION, &at.key("maxConnectionDuration"), longest);
        check.duration(&TCP_IDLE, &at.key("idleTimeout"), tcp.idle_timeout);
        if let Some(keepalive) = &tcp.tcp_keepalive {
            let at = at.key("tcpKeepalive");
            check.duration(&KEEPALIVE_TIME, &at.key("time"), keepalive.time);
            check.duration(&KEEPALIVE_INTERVAL, &at.key("interval"), keepalive.interval);
        }
    }
}
