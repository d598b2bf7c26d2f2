//! When a request is sent again.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reef_config::istio::HttpRetry;
use xds_api::Any;
use xds_api::envoy::config::route::v3::{self as rds, retry_policy};
use xds_api::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;

use crate::xds;
use crate::xds::more::PreviousPriorities;

/// Conditions of policies that name none: what was not processed. No status code is listed, so a
/// 503 answered by the application is not retried.
const CONDITIONS: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
/// The condition that lets the listed status codes count.
const BY_STATUS: &str = "retriable-status-codes";
/// The condition of requests that arrived at a workload: the application may close an idle
/// connection just as it is used again.
const INBOUND_CONDITION: &str = "reset-before-request";
/// How often another host is looked for before a host is tried again.
const SELECTIONS: i64 = 5;
/// After how many tries another locality is tried.
const TRIES_PER_PRIORITY: i32 = 2;

/// A retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Retries {
    attempts: u32,
    /// Conditions, comma separated.
    on: Arc<str>,
    status_codes: Box<[u32]>,
    per_try: Option<Duration>,
    backoff: Option<Duration>,
    /// Hosts that were tried are avoided.
    other_hosts: bool,
    /// Localities that were tried are avoided.
    other_localities: bool,
    /// There is one host only.
    inbound: bool,
}

impl Retries {
    /// The policy of routes where nobody says anything.
    pub(crate) fn by_default() -> Self {
        Self {
            attempts: 2,
            on: Arc::from(CONDITIONS),
            status_codes: Box::default(),
            per_try: None,
            backoff: None,
            other_hosts: true,
            other_localities: false,
            inbound: false,
        }
    }

    /// The policy of requests that arrived at a workload; `None` if the configuration turns it off.
    pub(crate) fn inbound(config: Option<&HttpRetry>) -> Option<Self> {
        let Some(config) = config else {
            return Some(Self {
                on: Arc::from(INBOUND_CONDITION),
                other_hosts: false,
                inbound: true,
                ..Self::by_default()
            });
        };
        let own = config.retry_on.as_deref().is_some_and(|on| !on.is_empty());
        let policy = Self::of(config)?;
        Some(Self {
            on: if own {
                policy.on
            } else {
                Arc::from(INBOUND_CONDITION)
            },
            other_hosts: false,
            other_localities: false,
            inbound: true,
            ..policy
        })
    }

    /// The policy of a configuration; `None` if it turns retries off.
    pub(crate) fn of(config: &HttpRetry) -> Option<Self> {
        let attempts = u32::try_from(config.attempts).ok().filter(|it| *it > 0)?;
        let (on, status_codes) = conditions(config.retry_on.as_deref().unwrap_or_default());
        Some(Self {
            attempts,
            on,
            status_codes,
            per_try: config.per_try_timeout.map(|time| time.0),
            backoff: config.backoff.map(|time| time.0),
            other_hosts: config.retry_ignore_previous_hosts != Some(false),
            other_localities: config.retry_remote_localities == Some(true),
            inbound: false,
        })
    }

    pub(crate) fn message(&self) -> rds::RetryPolicy {
        rds::RetryPolicy {
            retry_on: self.on.to_string(),
            num_retries: Some(self.attempts),
            retriable_status_codes: self.status_codes.to_vec(),
            per_try_timeout: self.per_try.map(xds::duration),
            retry_back_off: self.backoff.map(|pause| retry_policy::RetryBackOff {
                base_interval: Some(xds::duration(pause)),
                ..Default::default()
            }),
            host_selection_retry_max_attempts: if self.inbound { 0 } else { SELECTIONS },
            retry_host_predicate: self.other_hosts.then(other_hosts).into_iter().collect(),
            retry_priority: self.other_localities.then(other_localities),
            ..Default::default()
        }
    }
}

/// Splits status codes from conditions.
fn conditions(text: &str) -> (Arc<str>, Box<[u32]>) {
    let (mut names, mut codes) = (Vec::new(), Vec::new());
    for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        match part.parse() {
            Ok(code) => codes.push(code),
            Err(_) => names.push(part),
        }
    }
    if !codes.is_empty() && !names.contains(&BY_STATUS) {
        names.push(BY_STATUS);
    }
    let on = if names.is_empty() {
        CONDITIONS.to_owned()
    } else {
        names.join(",")
    };
    (Arc::from(on), codes.into())
}

fn other_hosts() -> retry_policy::RetryHostPredicate {
    static CONFIG: LazyLock<Any> = LazyLock::new(|| Any::pack(&PreviousHostsPredicate {}));
    retry_policy::RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_policy::retry_host_predicate::ConfigType::TypedConfig(
            CONFIG.clone(),
        )),
    }
}

fn other_localities() -> retry_policy::RetryPriority {
    let config = PreviousPriorities {
        update_frequency: TRIES_PER_PRIORITY,
    };
    retry_policy::RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(retry_policy::retry_priority::ConfigType::TypedConfig(
            Any::pack(&config),
        )),
    }
}
