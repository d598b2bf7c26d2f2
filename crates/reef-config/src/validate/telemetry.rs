//! `Telemetry` and `ProxyConfig`.

use super::check::Check;
use super::selector::{self, targets};
use crate::istio::{
    CustomTag, MetricsOverride, ProviderRef, ProxyConfig, TagOverrideOperation, Telemetry,
};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::Telemetry];
    Error PROVIDER "tel-provider" "A provider has a name";
    Warning TRACING_SEVERAL "tel-tracing-several" "There is one entry of tracing; further ones have no effect";
    Warning PROVIDERS_SEVERAL "tel-tracing-providers" "An entry of tracing has one provider; further ones have no effect";
    Error SAMPLING "tel-sampling" "randomSamplingPercentage is 0 to 100";
    Error TAG_NAME "tel-tag-name" "A custom tag has a name";
    Error TAG_VALUE "tel-tag-value" "A custom tag says what it holds: a literal, the name of a header or of a variable";
    Warning OVERRIDE_NAME "tel-override-name" "An override of a tag names the tag";
    Error OVERRIDE_VALUE "tel-override-value" "An override with UPSERT, the default, has a value";
    Error OVERRIDE_REMOVE "tel-override-remove" "An override with REMOVE has no value";
    Error METRIC "tel-metric" "The name of a customMetric is not empty";
}

/// Rules of `ProxyConfig`.
pub(super) mod proxy_config {
    use super::Kind;

    crate::validation_rules! {
        [Kind::ProxyConfig];
        Error CONCURRENCY "pc-concurrency" "concurrency is not negative";
    }
}

/// Checks a `Telemetry`.
pub(super) fn check(telemetry: &Telemetry, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let (selector, target) = (telemetry.selector.as_ref(), telemetry.target_ref.as_ref());
    targets::check(check, &spec, selector, target, &telemetry.target_refs);
    let field = spec.key("tracing");
    let several = telemetry.tracing.len() > 1;
    check.tell_if(
        several,
        &TRACING_SEVERAL,
        &field,
        "only the first entry has an effect",
    );
    for (index, tracing) in telemetry.tracing.iter().enumerate() {
        let at = field.index(index);
        providers(check, &at, &tracing.providers);
        let several = tracing.providers.len() > 1;
        let reason = "only the first provider has an effect";
        check.tell_if(several, &PROVIDERS_SEVERAL, &at.key("providers"), reason);
        if let Some(percent) = tracing.random_sampling_percentage
            && !(0.0..=100.0).contains(&percent)
        {
            let reason = format_args!("{percent} is not a percentage, which is 0 to 100");
            check.tell(&SAMPLING, &at.key("randomSamplingPercentage"), reason);
        }
        let tags = at.key("customTags");
        for (name, tag) in &tracing.custom_tags {
            let at = tags.key(name);
            check.tell_if(name.is_empty(), &TAG_NAME, &at, "a tag must have a name");
            let empty = is_tag_empty(tag);
            check.tell_if(
                empty,
                &TAG_VALUE,
                &at,
                "what the tag holds must not be empty",
            );
        }
    }
    let field = spec.key("metrics");
    for (index, metrics) in telemetry.metrics.iter().enumerate() {
        let at = field.index(index);
        providers(check, &at, &metrics.providers);
        let field = at.key("overrides");
        for (number, change) in metrics.overrides.iter().enumerate() {
            overrides(check, &field.index(number), change);
        }
    }
    let field = spec.key("accessLogging");
    for (index, logging) in telemetry.access_logging.iter().enumerate() {
        providers(check, &field.index(index), &logging.providers);
    }
}

fn providers(check: &mut Check<'_>, at: &Path<'_>, providers: &[ProviderRef]) {
    let field = at.key("providers");
    for (index, provider) in providers.iter().enumerate() {
        let none = provider.name.is_empty();
        check.tell_if(none, &PROVIDER, &field.index(index), "a name is needed");
    }
}

fn is_tag_empty(tag: &CustomTag) -> bool {
    let literal = tag
        .literal
        .as_ref()
        .is_some_and(|literal| literal.value.is_empty());
    let named = [&tag.header, &tag.environment];
    literal
        || named
            .iter()
            .any(|tag| tag.as_ref().is_some_and(|tag| tag.name.is_empty()))
}

fn overrides(check: &mut Check<'_>, at: &Path<'_>, change: &MetricsOverride) {
    let field = at.key("tagOverrides");
    for (name, tag) in &change.tag_overrides {
        let at = field.key(name);
        check.tell_if(
            name.is_empty(),
            &OVERRIDE_NAME,
            &at,
            "a tag must have a name",
        );
        let value = tag.value.as_ref().is_some_and(|value| !value.is_empty());
        let upsert = tag.operation == TagOverrideOperation::Upsert;
        check.tell_if(
            upsert && !value,
            &OVERRIDE_VALUE,
            &at,
            "UPSERT needs a value",
        );
        check.tell_if(
            !upsert && value,
            &OVERRIDE_REMOVE,
            &at,
            "REMOVE takes no value",
        );
    }
    let custom = change
        .selector
        .as_ref()
        .and_then(|selector| selector.custom_metric.as_ref());
    let empty = custom.is_some_and(String::is_empty);
    let field = at.key("match");
    check.tell_if(
        empty,
        &METRIC,
        &field.key("customMetric"),
        "must not be empty",
    );
}

/// Checks a `ProxyConfig`.
pub(super) fn check_proxy_config(config: &ProxyConfig, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    selector::workload(check, &spec.key("selector"), config.selector.as_ref());
    let negative = config.concurrency.is_some_and(|threads| threads < 0);
    let field = spec.key("concurrency");
    check.tell_if(
        negative,
        &proxy_config::CONCURRENCY,
        &field,
        "must not be negative",
    );
}
