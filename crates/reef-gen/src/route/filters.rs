//! What a route says to filters before the router: faults and cross-origin requests.

use std::collections::BTreeMap;

use reef_config::istio::{self, HttpRoute, Percent, StringMatch, UnmatchedPreflights};
use xds_api::Any;
use xds_api::envoy::config::core::v3::RuntimeFractionalPercent;
use xds_api::envoy::extensions::filters::common::fault::v3 as delays;
use xds_api::envoy::extensions::filters::http::{cors::v3 as cors, fault::v3 as faults};
use xds_api::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};

use super::condition;
use crate::xds;

/// gRPC's names of status codes, in the order of their numbers.
const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Settings of filters by their name.
pub(super) fn of_route(route: &HttpRoute, proxyless: bool) -> BTreeMap<String, Any> {
    let fault = route
        .fault
        .as_ref()
        .and_then(fault)
        .map(|fault| ("envoy.filters.http.fault".to_owned(), Any::pack(&fault)));
    let cors = route.cors_policy.as_ref().filter(|_| !proxyless);
    let cors = cors.map(|policy| {
        let policy = cors_policy(policy);
        ("envoy.filters.http.cors".to_owned(), Any::pack(&policy))
    });
    fault.into_iter().chain(cors).collect()
}

fn fault(fault: &istio::HttpFaultInjection) -> Option<faults::HttpFault> {
    let message = faults::HttpFault {
        delay: fault.delay.as_ref().and_then(delay),
        abort: fault.abort.as_ref().and_then(abort),
        ..Default::default()
    };
    (message.delay.is_some() || message.abort.is_some()).then_some(message)
}

fn delay(delay: &istio::Delay) -> Option<delays::FaultDelay> {
    let time = delay.fixed_delay?;
    Some(delays::FaultDelay {
        percentage: Some(match &delay.percentage {
            Some(share) => millionths(share),
            None => hundredths(delay.percent.and_then(|share| u32::try_from(share).ok())),
        }),
        fault_delay_secifier: Some(delays::fault_delay::FaultDelaySecifier::FixedDelay(
            xds::duration(time.0),
        )),
    })
}

fn abort(abort: &istio::Abort) -> Option<faults::FaultAbort> {
    let http = abort
        .http_status
        .and_then(|status| u32::try_from(status).ok())
        .map(faults::fault_abort::ErrorType::HttpStatus);
    let grpc = || {
        let name = abort.grpc_status.as_deref()?;
        let number = GRPC_STATUS.iter().position(|known| *known == name)?;
        let number = u32::try_from(number).ok()?;
        Some(faults::fault_abort::ErrorType::GrpcStatus(number))
    };
    Some(faults::FaultAbort {
        percentage: abort.percentage.as_ref().map(millionths),
        error_type: Some(http.or_else(grpc)?),
        ..Default::default()
    })
}

fn cors_policy(policy: &istio::CorsPolicy) -> cors::CorsPolicy {
    let exact = |origin: &String| StringMatch::Exact(origin.clone());
    let origins: Vec<StringMatch> = if policy.allow_origins.is_empty() {
        policy.allow_origin.iter().map(exact).collect()
    } else {
        policy.allow_origins.clone()
    };
    cors::CorsPolicy {
        allow_origin_string_match: origins.iter().map(condition::string).collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy
            .max_age
            .map(|age| age.as_secs().to_string())
            .unwrap_or_default(),
        allow_credentials: policy.allow_credentials,
        filter_enabled: Some(default_of(hundredths(Some(100)))),
        forward_not_matching_preflights: Some(
            policy.unmatched_preflights != Some(UnmatchedPreflights::Ignore),
        ),
        ..Default::default()
    }
}

/// A share that nothing but the configuration decides.
pub(super) fn default_of(share: FractionalPercent) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent {
        default_value: Some(share),
        ..Default::default()
    }
}

/// A share in whole percent.
pub(super) fn hundredths(share: Option<u32>) -> FractionalPercent {
    FractionalPercent {
        numerator: share.unwrap_or_default(),
        denominator: DenominatorType::Hundred.into(),
    }
}

/// A share in millionths; Envoy knows none finer.
pub(super) fn millionths(share: &Percent) -> FractionalPercent {
    FractionalPercent {
        numerator: whole(share.value * 10_000.0),
        denominator: DenominatorType::Million.into(),
    }
}

/// The whole part of a number up to a million; what is not one is none.
fn whole(number: f64) -> u32 {
    let text = format!("{:.0}", number.clamp(0.0, 1_000_000.0).floor());
    text.parse().unwrap_or_default()
}
