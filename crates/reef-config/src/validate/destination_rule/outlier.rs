//! `outlierDetection`.

use super::super::check::Check;
use crate::istio::OutlierDetection;
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::DestinationRule];
    Error EJECTION_TIME "dr-outlier-ejection-time" "baseEjectionTime is at least 1ms and whole milliseconds";
    Error INTERVAL "dr-outlier-interval" "The interval of outlier detection is at least 1ms and whole milliseconds";
    Warning ERRORS_OLD "dr-outlier-errors-old" "consecutive5xxErrors or consecutiveGatewayErrors is used instead of consecutiveErrors";
    Error LOCAL_ORIGIN "dr-outlier-local-origin" "consecutiveLocalOriginFailures goes with splitExternalLocalOriginErrors";
    Error EJECTION_PERCENT "dr-outlier-ejection-percent" "maxEjectionPercent is 0 to 100";
    Error HEALTH_PERCENT "dr-outlier-health-percent" "minHealthPercent is 0 to 100";
}

/// Checks outlier detection that is there.
pub(super) fn check(check: &mut Check<'_>, at: &Path<'_>, settings: Option<&OutlierDetection>) {
    let Some(settings) = settings else { return };
    let time = settings.base_ejection_time;
    check.duration(&EJECTION_TIME, &at.key("baseEjectionTime"), time);
    check.duration(&INTERVAL, &at.key("interval"), settings.interval);
    let old = settings
        .consecutive_errors
        .is_some_and(|errors| errors != 0);
    let reason = "consecutive5xxErrors and consecutiveGatewayErrors have taken the place of this";
    check.tell_if(old, &ERRORS_OLD, &at.key("consecutiveErrors"), reason);
    let split = settings
        .split_external_local_origin_errors
        .unwrap_or_default();
    let failures = settings
        .consecutive_local_origin_failures
        .unwrap_or_default();
    check.tell_if(
        !split && failures > 0,
        &LOCAL_ORIGIN,
        &at.key("consecutiveLocalOriginFailures"),
        "needs splitExternalLocalOriginErrors",
    );
    let ejection = settings.max_ejection_percent;
    percent(
        check,
        &EJECTION_PERCENT,
        &at.key("maxEjectionPercent"),
        ejection,
    );
    let health = settings.min_health_percent;
    percent(check, &HEALTH_PERCENT, &at.key("minHealthPercent"), health);
}

fn percent(check: &mut Check<'_>, rule: &'static super::Rule, at: &Path<'_>, percent: Option<i32>) {
    if let Some(percent) = percent
        && !(0..=100).contains(&percent)
    {
        let reason = format_args!("{percent} is not a percentage, which is 0 to 100");
        check.tell(rule, at, reason);
    }
}
