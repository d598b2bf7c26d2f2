//! `localityLbSetting`.

use std::collections::BTreeMap;

use super::super::check::{Check, Shown};
use crate::istio::LocalityLoadBalancerSetting;
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::DestinationRule];
    Error BOTH "dr-locality-both" "Locality settings have not both distribute and failover";
    Error PRIORITY "dr-locality-priority" "failoverPriority has no label of topology beside failover";
    Error WEIGHT "dr-locality-weight" "A weight of distribute is 1 to 100";
    Error SUM "dr-locality-sum" "The weights of an entry of distribute add up to 100";
    Error WILDCARD "dr-locality-wildcard" "A locality has one `*` at most, at its end";
    Error PART "dr-locality-part" "A locality is region, region/zone or region/zone/sub-zone, none of them empty";
    Error OVERLAP "dr-locality-overlap" "No locality covers one that comes after it in the same list";
    Warning OUTLIER "dr-locality-outlier" "Failover comes with outlierDetection, which finds out what has failed";
    Error FAILOVER_SAME "dr-locality-failover-same" "Failover leads to another region";
    Error FAILOVER_REGION "dr-locality-failover-region" "Failover names regions, without zones and without `*`";
}

/// Labels that say where an endpoint is.
const TOPOLOGY: [&str; 3] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

/// Checks the settings; `outliers` says whether outlier detection is on.
pub(super) fn check(
    check: &mut Check<'_>,
    at: &Path<'_>,
    settings: &LocalityLoadBalancerSetting,
    outliers: bool,
) {
    let failover = !settings.failover.is_empty();
    if failover && !settings.distribute.is_empty() {
        check.tell(&BOTH, at, "distribute and failover must not be together");
        return;
    }
    let places = settings.failover_priority.iter();
    if failover
        && places
            .clone()
            .any(|label| TOPOLOGY.contains(&label.as_str()))
    {
        let reason = "labels of topology say the same as failover";
        check.tell(&PRIORITY, &at.key("failoverPriority"), reason);
    }
    let field = at.key("distribute");
    for (index, entry) in settings.distribute.iter().enumerate() {
        let entry_at = field.index(index);
        let to = entry_at.key("to");
        if entry.to.values().any(|weight| !(1..=100).contains(weight)) {
            check.tell(&WEIGHT, &to, "a weight must be 1 to 100");
        } else {
            let sum: u64 = entry.to.values().map(|weight| u64::from(*weight)).sum();
            if sum != 100 {
                check.tell(
                    &SUM,
                    &to,
                    format_args!("the weights add up to {sum}, not to 100"),
                );
            }
        }
        localities(check, &to, entry.to.keys().map(String::as_str));
    }
    localities(
        check,
        &field,
        settings.distribute.iter().map(|entry| entry.from.as_str()),
    );
    if (failover || !settings.failover_priority.is_empty()) && !outliers {
        let reason = "without outlierDetection nothing fails over";
        check.tell(&OUTLIER, at, reason);
    }
    let field = at.key("failover");
    for (index, entry) in settings.failover.iter().enumerate() {
        let at = field.index(index);
        let same = entry.from == entry.to;
        check.tell_if(
            same,
            &FAILOVER_SAME,
            &at,
            "from and to must not be the same region",
        );
        let odd = [&entry.from, &entry.to]
            .iter()
            .any(|region| region.contains(['/', '*']));
        check.tell_if(odd, &FAILOVER_REGION, &at, "from and to must be regions");
    }
}

/// Checks a list of localities, none of which may be covered by an earlier one.
fn localities<'l>(check: &mut Check<'_>, at: &Path<'_>, all: impl Iterator<Item = &'l str>) {
    // Per region the zones, per zone the sub-zones; a whole region or zone has the entry `*`.
    let mut seen: BTreeMap<&str, BTreeMap<&str, BTreeMap<&str, ()>>> = BTreeMap::new();
    for locality in all {
        let stars = locality.matches('*').count();
        if stars > 1 || (stars == 1 && !locality.ends_with('*')) {
            let reason = format_args!("{}: only one * is allowed, at the end", Shown(locality));
            check.tell(&WILDCARD, at, reason);
            return;
        }
        let mut parts = locality.splitn(3, '/');
        if parts.clone().any(str::is_empty) {
            let reason = format_args!("{} has an empty part", Shown(locality));
            check.tell(&PART, at, reason);
            return;
        }
        let region = parts.next().unwrap_or_default();
        let (zone, sub_zone) = (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
        let overlaps = seen.contains_key("*")
            || seen.get(region).is_some_and(|zones| {
                zones.contains_key("*")
                    || (zone == "*" && !locality.contains('/'))
                    || zones.get(zone).is_some_and(|subs| {
                        subs.contains_key("*")
                            || subs.contains_key(sub_zone)
                            || locality.matches('/').count() == 1
                    })
            });
        if overlaps {
            let reason = format_args!("{} overlaps with an earlier one", Shown(locality));
            check.tell(&OVERLAP, at, reason);
            return;
        }
        let zones = seen.entry(region).or_default();
        zones.entry(zone).or_default().insert(sub_zone, ());
    }
}
