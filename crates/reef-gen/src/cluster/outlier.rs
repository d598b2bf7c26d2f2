//! Ejection of failing hosts.

use std::time::Duration;

use reef_config::istio::OutlierDetection;
use xds_api::envoy::config::cluster::v3 as cds;

use crate::xds;

/// When a host counts as failing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Outlier {
    errors: Option<u32>,
    gateway_errors: Option<u32>,
    /// Errors of the connection are counted apart, from this number on if one is given.
    local: Option<Option<u32>>,
    interval: Option<Duration>,
    base_time: Option<Duration>,
    most: Option<u32>,
    /// Share of healthy hosts below which all are used.
    pub panic: u32,
    /// Status codes that count as errors, ascending; none means Envoy's own.
    pub codes: Box<[u32]>,
}

impl Outlier {
    pub(crate) fn of(settings: &OutlierDetection) -> Self {
        let local = settings
            .consecutive_local_origin_failures
            .filter(|limit| *limit > 0);
        let mut codes = settings.outlier_detection_http_error_codes.clone();
        codes.sort_unstable();
        codes.dedup();
        Self {
            errors: settings.consecutive_5xx_errors,
            gateway_errors: settings.consecutive_gateway_errors,
            local: (settings.split_external_local_origin_errors == Some(true)).then_some(local),
            interval: settings.interval.map(|time| time.0),
            base_time: settings.base_ejection_time.map(|time| time.0),
            most: settings
                .max_ejection_percent
                .and_then(|percent| u32::try_from(percent).ok())
                .filter(|percent| *percent > 0),
            panic: panic(settings),
            codes: codes.into(),
        }
    }

    /// Hosts are never ejected for answering worse than others: only for errors in a row.
    pub(crate) fn message(&self) -> cds::OutlierDetection {
        let enforced = |limit: u32| if limit == 0 { 0 } else { 100 };
        let local = self.local.flatten();
        cds::OutlierDetection {
            consecutive_5xx: self.errors,
            enforcing_consecutive_5xx: self.errors.map(enforced),
            consecutive_gateway_failure: self.gateway_errors,
            enforcing_consecutive_gateway_failure: self.gateway_errors.map(enforced),
            enforcing_success_rate: Some(0),
            split_external_local_origin_errors: self.local.is_some(),
            enforcing_local_origin_success_rate: self.local.map(|_| 0),
            consecutive_local_origin_failure: local,
            enforcing_consecutive_local_origin_failure: local.map(enforced),
            interval: self.interval.map(xds::duration),
            base_ejection_time: self.base_time.map(xds::duration),
            max_ejection_percent: self.most,
            ..Default::default()
        }
    }
}

/// Percent of healthy hosts below which health is not asked.
pub(crate) fn panic(settings: &OutlierDetection) -> u32 {
    let percent = settings.min_health_percent.unwrap_or(0);
    u32::try_from(percent).unwrap_or(0).min(100)
}
