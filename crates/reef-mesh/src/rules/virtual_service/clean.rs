//! Takes out of a route what can't be done, and tells of it.
//!
//! Objects are validated before they come here. What is left is what istiod takes too, and leaves
//! out without a word, and what a delegate and its root make only together.

use std::collections::BTreeMap;

use reef_config::Problem;
use reef_config::istio::{HeaderOperations, Headers, HttpMatchRequest, HttpRoute, StringMatch};

use super::Place;
use super::format;

/// Problems of one route.
#[derive(Debug)]
pub(super) struct Told<'a> {
    place: &'a Place,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Told<'a> {
    pub(super) fn new(place: &'a Place, problems: &'a mut Vec<Problem>) -> Self {
        Self { place, problems }
    }

    fn tell(&mut self, at: &str, reason: impl Into<String>) {
        self.place.tell(self.problems, "route-dropped", at, reason);
    }
}

/// Cleans what a route does; false if nothing is left of it.
pub(super) fn action(route: &mut HttpRoute, told: &mut Told<'_>) -> bool {
    let possible = if let Some(redirect) = &route.redirect {
        let code = redirect.redirect_code.unwrap_or_default();
        let known = matches!(code, 0 | 301 | 302 | 303 | 307 | 308);
        if !known {
            let reason =
                format!("Envoy can't redirect with status {code}; the route has no effect");
            told.tell(".redirect.redirectCode", reason);
        }
        known
    } else {
        route.direct_response.is_some() || forwards(route, told)
    };
    if possible {
        for percentage in [&mut route.mirror_percentage]
            .into_iter()
            .chain(
                route
                    .mirrors
                    .iter_mut()
                    .map(|mirror| &mut mirror.percentage),
            )
            .flatten()
            .filter(|percentage| percentage.value.is_nan())
        {
            percentage.value = 0.0;
        }
        headers(&mut route.headers, ".headers", told);
        for (index, to) in route.route.iter_mut().enumerate() {
            headers(&mut to.headers, &format!(".route[{index}].headers"), told);
        }
        faults(route, told);
    }
    possible
}

fn forwards(route: &HttpRoute, told: &mut Told<'_>) -> bool {
    let total: u64 = route
        .route
        .iter()
        .filter_map(|to| u64::try_from(to.weight.unwrap_or_default()).ok())
        .sum();
    let reason = match route.route.len() {
        0 => "the route leads nowhere and has no effect",
        1 => return true,
        _ if total == 0 => "no destination has a weight, so the route has no effect",
        _ if u32::try_from(total).is_err() => {
            "the weights are too large, so the route has no effect"
        }
        _ => return true,
    };
    told.tell(".route", reason);
    false
}

fn faults(route: &mut HttpRoute, told: &mut Told<'_>) {
    let Some(fault) = &mut route.fault else {
        return;
    };
    if let Some(delay) = &fault.delay
        && delay.fixed_delay.is_none_or(|time| time.is_zero())
    {
        told.tell(".fault.delay", "a delay without fixedDelay has no effect");
        fault.delay = None;
    }
    if let Some(abort) = &fault.abort
        && abort.http_status.is_none()
        && abort.grpc_status.is_none()
    {
        let reason = "an abort without httpStatus and grpcStatus has no effect";
        told.tell(".fault.abort", reason);
        fault.abort = None;
    }
    let delay = fault
        .delay
        .as_mut()
        .and_then(|delay| delay.percentage.as_mut());
    let abort = fault
        .abort
        .as_mut()
        .and_then(|abort| abort.percentage.as_mut());
    for percentage in delay.into_iter().chain(abort) {
        if percentage.value.is_nan() {
            percentage.value = 0.0;
        }
    }
}

/// Cleans changes of headers: values are format strings, and Envoy refuses a command it does not
/// know.
fn headers(headers: &mut Option<Headers>, at: &str, told: &mut Told<'_>) {
    let Some(headers) = headers else {
        return;
    };
    let both = [
        ("request", &mut headers.request),
        ("response", &mut headers.response),
    ];
    for (side, operations) in both {
        if let Some(HeaderOperations { set, add, .. }) = operations {
            values(set, &format!("{at}.{side}.set"), told);
            values(add, &format!("{at}.{side}.add"), told);
        }
    }
}

fn values(headers: &mut BTreeMap<String, String>, at: &str, told: &mut Told<'_>) {
    headers.retain(|name, value| match format::unknown_command(value) {
        None => true,
        Some(command) => {
            let reason = format!(
                "Envoy knows no command {command}, so the header is left alone; %% is the \
                 character"
            );
            told.tell(&format!("{at}.{name}"), reason);
            false
        }
    });
}

/// Cleans a condition; false if it can't be used.
pub(super) fn condition(
    condition: &mut HttpMatchRequest,
    index: usize,
    told: &mut Told<'_>,
) -> bool {
    if let Some(StringMatch::Prefix(prefix)) = &mut condition.uri
        && prefix.is_empty()
    {
        // Every path begins with it.
        "/".clone_into(prefix);
    }
    let never = [&condition.headers, &condition.without_headers]
        .into_iter()
        .flatten()
        .any(|(name, _)| name.is_empty())
        || condition.query_params.keys().any(String::is_empty);
    if never {
        let reason = "a header or query parameter needs a name, so the condition has no effect";
        told.tell(&format!(".match[{index}]"), reason);
    }
    !never
}
