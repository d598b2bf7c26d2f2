//! How a cluster picks a host.

use std::time::Duration;

use reef_config::istio::{ConsistentHash, LoadBalancerSettings, SimpleLb};
use xds_api::envoy::config::cluster::v3::cluster::{
    LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
    SlowStartConfig,
};
use xds_api::envoy::config::cluster::v3::{self as cds};
use xds_api::envoy::config::core::v3::RuntimeDouble;
use xds_api::envoy::r#type::v3::Percent;

use crate::xds;

/// Largest ring Envoy makes.
const LARGEST_RING: u64 = 8 * 1024 * 1024;
/// Largest table of maglev.
const LARGEST_TABLE: u64 = 5_000_011;
/// Smallest ring where hashing is asked for without an algorithm.
const DEFAULT_RING: u64 = 1024;

/// How hosts are picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Balancer {
    /// The one of two with fewer requests.
    LeastRequest(Option<Warmup>),
    /// One after the other.
    RoundRobin(Option<Warmup>),
    /// At random.
    Random,
    /// The address the client meant.
    Passthrough,
    /// By hash, with maglev and a table of this size.
    Maglev(Option<u64>),
    /// By hash, with a ring of at least this size.
    Ring(Option<u64>),
}

/// Slow start of new hosts; numbers in the exact bits of a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Warmup {
    window: Duration,
    /// Steepness and smallest share in percent, unless only the window is told.
    shape: Option<(u64, u64)>,
}

impl Default for Balancer {
    fn default() -> Self {
        Self::LeastRequest(None)
    }
}

impl Balancer {
    pub(crate) fn of(settings: &LoadBalancerSettings) -> Self {
        if let Some(hash) = &settings.consistent_hash {
            return Self::by_hash(hash);
        }
        match settings.simple.unwrap_or_default() {
            SimpleLb::Random => Self::Random,
            SimpleLb::Passthrough => Self::Passthrough,
            SimpleLb::RoundRobin => Self::RoundRobin(Warmup::of(settings)),
            SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest => {
                Self::LeastRequest(Warmup::of(settings))
            }
        }
    }

    /// Sizes Envoy would refuse are not told to it: the cluster would not be there at all.
    fn by_hash(hash: &ConsistentHash) -> Self {
        let ring = |size: u64| size.min(LARGEST_RING);
        if let Some(maglev) = &hash.maglev {
            let size = maglev.table_size.filter(|size| is_table_size(*size));
            return Self::Maglev(size);
        }
        match &hash.ring_hash {
            Some(named) => Self::Ring(named.minimum_ring_size.filter(|size| *size != 0).map(ring)),
            None => Self::Ring(Some(ring(hash.minimum_ring_size.unwrap_or(DEFAULT_RING)))),
        }
    }

    /// Tells the cluster. Not for those whose type picks the host.
    pub(crate) fn apply(self, cluster: &mut cds::Cluster) {
        let (policy, config) = match self {
            Self::LeastRequest(warmup) => (
                LbPolicy::LeastRequest,
                warmup.map(|warmup| {
                    LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                        slow_start_config: Some(warmup.message()),
                        ..Default::default()
                    })
                }),
            ),
            Self::RoundRobin(warmup) => (
                LbPolicy::RoundRobin,
                warmup.map(|warmup| {
                    LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
                        slow_start_config: Some(warmup.message()),
                    })
                }),
            ),
            Self::Random => (LbPolicy::Random, None),
            Self::Passthrough => (LbPolicy::ClusterProvided, None),
            Self::Maglev(size) => (
                LbPolicy::Maglev,
                size.map(|size| {
                    LbConfig::MaglevLbConfig(MaglevLbConfig {
                        table_size: Some(size),
                    })
                }),
            ),
            Self::Ring(size) => (
                LbPolicy::RingHash,
                size.map(|size| {
                    LbConfig::RingHashLbConfig(RingHashLbConfig {
                        minimum_ring_size: Some(size),
                        ..Default::default()
                    })
                }),
            ),
        };
        cluster.lb_policy = policy.into();
        cluster.lb_config = config;
    }
}

impl Warmup {
    fn of(settings: &LoadBalancerSettings) -> Option<Self> {
        let Some(warmup) = &settings.warmup else {
            let window = settings.warmup_duration_secs?.0;
            return Some(Self {
                window,
                shape: None,
            });
        };
        let aggression = warmup.aggression.unwrap_or(1.0);
        let least = warmup.minimum_percent.unwrap_or(10.0);
        Some(Self {
            window: warmup.duration?.0,
            shape: Some((aggression.to_bits(), least.to_bits())),
        })
    }

    fn message(self) -> SlowStartConfig {
        SlowStartConfig {
            slow_start_window: Some(xds::duration(self.window)),
            aggression: self.shape.map(|(aggression, _)| RuntimeDouble {
                default_value: f64::from_bits(aggression),
                // Nobody sets it; Envoy wants some name.
                runtime_key: "(".to_owned(),
            }),
            min_weight_percent: self.shape.map(|(_, least)| Percent {
                value: f64::from_bits(least),
            }),
        }
    }
}

/// True if Envoy takes a maglev table of this size: a prime below its limit.
pub(crate) fn is_table_size(size: u64) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= size);
    (2..=LARGEST_TABLE).contains(&size) && divisors.all(|divisor| !size.is_multiple_of(divisor))
}

/// True if Envoy makes a ring of at least this size.
pub(crate) fn is_ring_size(size: u64) -> bool {
    size <= LARGEST_RING
}
