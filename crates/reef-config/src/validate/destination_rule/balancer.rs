//! `loadBalancer`.

use super::super::check::Check;
use super::locality;
use crate::istio::{ConsistentHash, LoadBalancerSettings, WarmupConfiguration};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::DestinationRule];
    Error BOTH "dr-lb-both" "A load balancer has not both simple and consistentHash";
    Error COOKIE "dr-lb-cookie" "The cookie of consistentHash has a name";
    Error HASHES "dr-lb-hashes" "consistentHash has one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName";
    Warning (own) HASH_MISSING "dr-lb-hash-missing" "consistentHash says what is hashed; else endpoints are picked at random";
    Warning RING_OLD "dr-lb-ring-old" "ringHash is used instead of consistentHash.minimumRingSize";
    Error RINGS "dr-lb-rings" "consistentHash has one of minimumRingSize, ringHash and maglev";
    Warning (own) RING_SIZE "dr-lb-ring-size" "The minimum size of a ring is at most 8,388,608, the largest Envoy takes";
    Error MAGLEV_LARGE "dr-lb-maglev-large" "The tableSize of maglev is less than 5,000,011";
    Error MAGLEV_PRIME "dr-lb-maglev-prime" "The tableSize of maglev is a prime number";
    Error WARMUP_TIME "dr-lb-warmup-time" "The duration of warmup is there, at least 1ms and whole milliseconds";
    Error WARMUP_PERCENT "dr-lb-warmup-percent" "The minimumPercent of warmup is 0 to 100";
    Error WARMUP_AGGRESSION "dr-lb-warmup-aggression" "The aggression of warmup is at least 1";
}

/// Largest ring Envoy takes.
const LARGEST_RING: u64 = 8 << 20;

/// Maglev tables are smaller than this.
const LARGEST_TABLE: u64 = 5_000_011;

/// Checks a load balancer that is there.
pub(super) fn check(
    check: &mut Check<'_>,
    at: &Path<'_>,
    settings: Option<&LoadBalancerSettings>,
    outliers: bool,
) {
    let Some(settings) = settings else { return };
    let both = settings.simple.is_some() && settings.consistent_hash.is_some();
    check.tell_if(
        both,
        &BOTH,
        at,
        "simple and consistentHash must not be together",
    );
    if let Some(hash) = &settings.consistent_hash {
        consistent(check, &at.key("consistentHash"), hash);
    }
    if let Some(locality) = &settings.locality_lb_setting {
        locality::check(check, &at.key("localityLbSetting"), locality, outliers);
    }
    let old = settings.warmup_duration_secs;
    check.duration(&WARMUP_TIME, &at.key("warmupDurationSecs"), old);
    if let Some(warmup) = &settings.warmup {
        warms(check, &at.key("warmup"), warmup);
    }
}

fn consistent(check: &mut Check<'_>, at: &Path<'_>, hash: &ConsistentHash) {
    let nameless = hash
        .http_cookie
        .as_ref()
        .is_some_and(|cookie| cookie.name.is_empty());
    check.tell_if(
        nameless,
        &COOKIE,
        &at.key("httpCookie"),
        "a cookie must have a name",
    );
    let hashed = usize::from(hash.http_header_name.is_some())
        + usize::from(hash.http_cookie.is_some())
        + usize::from(hash.use_source_ip.is_some())
        + usize::from(hash.http_query_parameter_name.is_some());
    check.tell_if(hashed > 1, &HASHES, at, "only one thing can be hashed");
    let reason = "nothing is hashed, so endpoints are picked at random";
    check.tell_if(hashed == 0, &HASH_MISSING, at, reason);
    let old = hash.minimum_ring_size.filter(|size| *size != 0);
    let rings = usize::from(old.is_some())
        + usize::from(hash.ring_hash.is_some())
        + usize::from(hash.maglev.is_some());
    check.tell_if(
        rings > 1,
        &RINGS,
        at,
        "only one of minimumRingSize, ringHash and maglev may be set",
    );
    let field = at.key("minimumRingSize");
    let reason = "ringHash.minimumRingSize has taken the place of this field";
    check.tell_if(old.is_some() && rings == 1, &RING_OLD, &field, reason);
    let ring = hash
        .ring_hash
        .as_ref()
        .and_then(|ring| ring.minimum_ring_size);
    if let Some(size) = old.or(ring)
        && size > LARGEST_RING
    {
        let reason = format_args!("{size} is more than 8388608");
        check.tell(&RING_SIZE, at, reason);
    }
    if let Some(size) = hash.maglev.as_ref().and_then(|maglev| maglev.table_size) {
        let maglev = at.key("maglev");
        let at = maglev.key("tableSize");
        if size >= LARGEST_TABLE {
            check.tell(
                &MAGLEV_LARGE,
                &at,
                format_args!("{size} is not less than 5000011"),
            );
        } else if !is_prime(size) {
            check.tell(
                &MAGLEV_PRIME,
                &at,
                format_args!("{size} is not a prime number"),
            );
        }
    }
}

/// For numbers below [`LARGEST_TABLE`]: at most about a thousand divisions.
fn is_prime(number: u64) -> bool {
    number >= 2
        && (number == 2 || !number.is_multiple_of(2))
        && (3u64..)
            .step_by(2)
            .take_while(|factor| factor * factor <= number)
            .all(|factor| !number.is_multiple_of(factor))
}

fn warms(check: &mut Check<'_>, at: &Path<'_>, warmup: &WarmupConfiguration) {
    let time = at.key("duration");
    match warmup.duration {
        None => check.tell(&WARMUP_TIME, &time, "a duration is needed"),
        duration => check.duration(&WARMUP_TIME, &time, duration),
    }
    if let Some(percent) = warmup.minimum_percent
        && !(0.0..=100.0).contains(&percent)
    {
        let reason = format_args!("{percent} is not a percentage, which is 0 to 100");
        check.tell(&WARMUP_PERCENT, &at.key("minimumPercent"), reason);
    }
    if let Some(aggression) = warmup.aggression
        && !(1.0..).contains(&aggression)
    {
        let reason = format_args!("{aggression} is less than 1");
        check.tell(&WARMUP_AGGRESSION, &at.key("aggression"), reason);
    }
}
