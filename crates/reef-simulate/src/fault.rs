//! Injected faults.

use xds_api::Any;
use xds_api::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use xds_api::envoy::extensions::filters::http::fault::v3::HttpFault;
use xds_api::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;

use crate::action::{Selected, duration};
use crate::answer::{Delay, Outcome};
use crate::config::unpack;
use crate::http::{self, Exchange};
use crate::matcher;

/// The faults of a route: its own, else those of the filter.
pub(crate) fn config(selected: &Selected<'_>, filter: Option<&Any>) -> Option<HttpFault> {
    let own = selected.filter_config("envoy.filters.http.fault");
    own.or(filter).and_then(unpack)
}

/// Notes a delay in the outcome; gives the outcome of an abort and its share.
pub(crate) fn inject(
    exchange: &Exchange<'_>,
    config: &HttpFault,
    outcome: &mut Outcome,
) -> (Option<Outcome>, f64) {
    let other_cluster = !config.upstream_cluster.is_empty()
        && outcome.cluster.as_deref() != Some(config.upstream_cluster.as_str());
    let matches = config
        .headers
        .iter()
        .all(|one| matcher::header(one, &exchange.headers));
    if other_cluster || !matches {
        return (None, 0.0);
    }
    if !config.downstream_nodes.is_empty() {
        outcome
            .notes
            .push("a fault for some callers only was passed over".to_owned());
        return (None, 0.0);
    }
    if let Some(delay) = &config.delay {
        let share = delay.percentage.as_ref().map_or(0.0, matcher::fraction);
        let fixed = match &delay.fault_delay_secifier {
            Some(FaultDelaySecifier::FixedDelay(time)) => Some(duration(time)),
            _ => None,
        };
        if let Some(time) = fixed.filter(|time| share > 0.0 && !time.is_zero()) {
            outcome.delay = Some(Delay {
                time,
                percent: share * 100.0,
            });
        }
    }
    let Some(abort) = &config.abort else {
        return (None, 0.0);
    };
    let share = abort.percentage.as_ref().map_or(0.0, matcher::fraction);
    let (status, code) = match &abort.error_type {
        Some(ErrorType::HttpStatus(status)) => (u16::try_from(*status).unwrap_or(500), None),
        Some(ErrorType::GrpcStatus(code)) => (200, u16::try_from(*code).ok()),
        _ => return (None, 0.0),
    };
    if share <= 0.0 {
        return (None, 0.0);
    }
    let mut aborted = outcome.clone();
    aborted.probability *= share;
    aborted.grpc_status = code;
    let body = match abort.response_body.as_str() {
        "" => "fault filter abort",
        own => own,
    };
    let aborted = http::own_answer(exchange, aborted, status, "fault_filter_abort", body);
    (Some(aborted), share)
}
