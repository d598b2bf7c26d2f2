//! `AuthorizationPolicy`.

use super::super::check::{Check, Shown};
use super::super::selector::targets;
use super::super::text;
use crate::istio::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Condition, Operation, Source,
};
use crate::kind::Kind;
use crate::object::Object;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::AuthorizationPolicy];
    Error DRY_RUN "ap-dry-run" "The annotation istio.io/dry-run is true or false, and goes with the actions ALLOW and DENY";
    Error CUSTOM_RULES "ap-custom-rules" "The action CUSTOM has rules; `{}` is one that holds for every request";
    Error CUSTOM_PROVIDER "ap-custom-provider" "The action CUSTOM has a provider with a name";
    Error CUSTOM_ATTRIBUTE "ap-custom-attribute" "The action CUSTOM asks for no identities: they are known only after it";
    Error PROVIDER "ap-provider" "A provider goes with the action CUSTOM";
    Error DENY_RULES "ap-deny-rules" "The action DENY has rules; `{}` is one that holds for every request";
    Warning DENY_TCP "ap-deny-tcp" "A rule of the action DENY that asks for requests names ports; else it denies all TCP traffic";
    Error SOURCE_EMPTY "ap-source-empty" "A source asks for something";
    Error OPERATION_EMPTY "ap-operation-empty" "An operation asks for something";
    Error VALUE_EMPTY "ap-value-empty" "A value to compare with is not empty";
    Error ADDRESS "ap-address" "ipBlocks and remoteIpBlocks are addresses or prefixes";
    Error ACCOUNT "ap-account" "A service account is name or namespace/name";
    Error ACCOUNT_AND_NAME "ap-account-and-name" "A source with serviceAccounts has no principals and namespaces, which say the same";
    Error PORT "ap-port" "A port of an operation is a number up to 65535";
    Error TEMPLATE "ap-path-template" "Of the templates in paths only {*} and {**} are supported, the latter at the end";
    Error KEY_EMPTY "ap-key-empty" "A condition has a key";
    Error KEY "ap-key" "The key of a condition is an attribute that Istio knows";
    Error KEY_FORM "ap-key-form" "The key of a map has the form request.headers[name]";
    Error VALUES "ap-values" "A condition has values or notValues";
    Error CONDITION_ADDRESS "ap-condition-address" "Values of source.ip, remote.ip and destination.ip are addresses or prefixes";
    Error CONDITION_PORT "ap-condition-port" "Values of destination.port are numbers up to 65535";
}

/// Keys that stand for one value each.
const ATTRIBUTES: [&str; 10] = [
    "connection.sni",
    "destination.ip",
    "destination.port",
    "remote.ip",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.principal",
    "source.ip",
    "source.namespace",
    "source.principal",
];

/// Keys that stand for a map, one entry of which a condition names.
const MAPS: [&str; 3] = [
    "experimental.envoy.filters.",
    "request.auth.claims",
    "request.headers",
];

/// Checks an `AuthorizationPolicy`.
pub(in super::super) fn check(
    object: &Object,
    policy: &AuthorizationPolicy,
    check: &mut Check<'_>,
) {
    let root = Path::Root;
    let spec = root.key("spec");
    let (selector, target) = (policy.selector.as_ref(), policy.target_ref.as_ref());
    targets::check(check, &spec, selector, target, &policy.target_refs);
    actions(check, object, policy);
    let field = spec.key("rules");
    for (index, rule) in policy.rules.iter().enumerate() {
        let at = field.index(index);
        one_rule(check, &at, rule);
        if policy.action == AuthorizationAction::Custom {
            custom(check, &at, rule);
        }
        if policy.action == AuthorizationAction::Deny && denies_tcp(rule) {
            let reason =
                "connections that are not HTTP have no such attributes, so all of them are denied";
            check.tell(&DENY_TCP, &at, reason);
        }
    }
}

fn actions(check: &mut Check<'_>, object: &Object, policy: &AuthorizationPolicy) {
    let root = Path::Root;
    let spec = root.key("spec");
    let rules = spec.key("rules");
    let none = policy.rules.is_empty();
    let custom = policy.action == AuthorizationAction::Custom;
    let deny = policy.action == AuthorizationAction::Deny;
    let reason = "without rules nothing is asked; {} is a rule that always holds";
    check.tell_if(custom && none, &CUSTOM_RULES, &rules, reason);
    let reason = "without rules nothing is denied; {} is a rule that always holds";
    check.tell_if(deny && none, &DENY_RULES, &rules, reason);
    let field = spec.key("provider");
    let named = policy
        .provider
        .as_ref()
        .is_some_and(|provider| !provider.name.is_empty());
    let reason = "the action CUSTOM needs a provider with a name";
    check.tell_if(custom && !none && !named, &CUSTOM_PROVIDER, &field, reason);
    let some = policy.provider.is_some();
    let reason = "a provider goes with the action CUSTOM only";
    check.tell_if(some && !custom, &PROVIDER, &field, reason);
    if let Some(value) = object.meta.annotations.get("istio.io/dry-run") {
        let at = root.key("metadata");
        let at = at.key("annotations");
        let at = at.key("istio.io/dry-run");
        let bools = [
            "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False",
        ];
        if custom || policy.action == AuthorizationAction::Audit {
            check.tell(
                &DRY_RUN,
                &at,
                "only ALLOW and DENY can be tried without effect",
            );
        } else if !bools.contains(&&**value) {
            let reason = format_args!("{} is neither true nor false", Shown(value));
            check.tell(&DRY_RUN, &at, reason);
        }
    }
}

/// A rule that denies what it can't ask connections for.
fn denies_tcp(rule: &AuthorizationRule) -> bool {
    let tcp_source = rule.from.iter().any(|from| {
        let source = &from.source;
        !(source.principals.is_empty()
            && source.not_principals.is_empty()
            && source.namespaces.is_empty()
            && source.not_namespaces.is_empty()
            && source.service_accounts.is_empty()
            && source.not_service_accounts.is_empty()
            && source.ip_blocks.is_empty()
            && source.not_ip_blocks.is_empty()
            && source.remote_ip_blocks.is_empty()
            && source.not_remote_ip_blocks.is_empty())
    });
    let tcp_operation = rule
        .to
        .iter()
        .any(|to| !(to.operation.ports.is_empty() && to.operation.not_ports.is_empty()));
    let (from, to) = (!rule.from.is_empty(), !rule.to.is_empty());
    (from && !to && !tcp_source) || (to && !tcp_operation)
}

fn one_rule(check: &mut Check<'_>, at: &Path<'_>, rule: &AuthorizationRule) {
    let field = at.key("from");
    for (index, from) in rule.from.iter().enumerate() {
        let item = field.index(index);
        source(check, &item.key("source"), &from.source);
    }
    let field = at.key("to");
    for (index, to) in rule.to.iter().enumerate() {
        let item = field.index(index);
        operation(check, &item.key("operation"), &to.operation);
    }
    let field = at.key("when");
    for (index, condition) in rule.when.iter().enumerate() {
        attribute(check, &field.index(index), condition);
    }
}

fn empty_values(check: &mut Check<'_>, at: &Path<'_>, values: &[String]) {
    for (index, value) in values.iter().enumerate() {
        let empty = value.is_empty();
        check.tell_if(empty, &VALUE_EMPTY, &at.index(index), "must not be empty");
    }
}

fn source(check: &mut Check<'_>, at: &Path<'_>, source: &Source) {
    let lists = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ];
    let addresses = [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    let nothing = lists
        .iter()
        .chain(&addresses)
        .all(|(_, list)| list.is_empty());
    check.tell_if(
        nothing,
        &SOURCE_EMPTY,
        at,
        "a source must ask for something",
    );
    for (name, list) in lists {
        empty_values(check, &at.key(name), list);
    }
    for (name, list) in addresses {
        blocks(check, &ADDRESS, &at.key(name), list);
    }
    for (name, list) in [
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ] {
        let field = at.key(name);
        for (index, account) in list.iter().enumerate() {
            let parts = account.split('/').count();
            let odd = parts > 2 || account.split('/').any(str::is_empty);
            if odd && !account.is_empty() {
                let reason = format_args!("{} is not name or namespace/name", Shown(account));
                check.tell(&ACCOUNT, &field.index(index), reason);
            }
        }
    }
    let accounts = !source.service_accounts.is_empty() || !source.not_service_accounts.is_empty();
    let named = [
        &source.principals,
        &source.not_principals,
        &source.namespaces,
        &source.not_namespaces,
    ];
    let both = accounts && named.iter().any(|list| !list.is_empty());
    let reason = "serviceAccounts must not be together with principals or namespaces";
    check.tell_if(both, &ACCOUNT_AND_NAME, at, reason);
}

fn blocks(check: &mut Check<'_>, rule: &'static super::Rule, at: &Path<'_>, list: &[String]) {
    for (index, block) in list.iter().enumerate() {
        if !text::is_address_or_prefix(block) {
            let reason = format_args!("{} is neither an IP address nor a prefix", Shown(block));
            check.tell(rule, &at.index(index), reason);
        }
    }
}

fn ports(check: &mut Check<'_>, rule: &'static super::Rule, at: &Path<'_>, list: &[String]) {
    for (index, port) in list.iter().enumerate() {
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        if !digits || port.parse::<u16>().is_err() {
            let reason = format_args!("{} is not a number up to 65535", Shown(port));
            check.tell(rule, &at.index(index), reason);
        }
    }
}

fn operation(check: &mut Check<'_>, at: &Path<'_>, operation: &Operation) {
    let lists = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ];
    let numbers = [
        ("ports", &operation.ports),
        ("notPorts", &operation.not_ports),
    ];
    let nothing = lists
        .iter()
        .chain(&numbers)
        .all(|(_, list)| list.is_empty());
    check.tell_if(
        nothing,
        &OPERATION_EMPTY,
        at,
        "an operation must ask for something",
    );
    for (name, list) in lists {
        empty_values(check, &at.key(name), list);
    }
    for (name, list) in numbers {
        ports(check, &PORT, &at.key(name), list);
    }
    for (name, list) in [
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ] {
        let field = at.key(name);
        for (index, path) in list.iter().enumerate() {
            if !is_template_supported(path) {
                let reason = format_args!("{} is not a template Istio supports", Shown(path));
                check.tell(&TEMPLATE, &field.index(index), reason);
            }
        }
    }
}

/// Whether a path is no template, or one of `{*}` and `{**}` only.
fn is_template_supported(path: &str) -> bool {
    if !path.contains("{*}") && !path.contains("{**}") {
        return true;
    }
    let rest = path.replace("{*}", "").replace("{**}", "");
    !rest.contains(['{', '}', '*'])
}

fn attribute(check: &mut Check<'_>, at: &Path<'_>, condition: &Condition) {
    let key = condition.key.as_str();
    let field = at.key("key");
    if key.is_empty() {
        check.tell(&KEY_EMPTY, &field, "a key is needed");
        return;
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        check.tell(&VALUES, at, "one of values and notValues is needed");
        return;
    }
    if MAPS.iter().any(|map| key.starts_with(map)) {
        let inside = key
            .split_once('[')
            .and_then(|(_, rest)| rest.strip_suffix(']'));
        if inside.is_none_or(str::is_empty) {
            let reason = format_args!("{} does not have the form a[b]", Shown(key));
            check.tell(&KEY_FORM, &field, reason);
        }
    } else if !ATTRIBUTES.contains(&key) {
        check.tell(
            &KEY,
            &field,
            format_args!("{} is not an attribute", Shown(key)),
        );
        return;
    }
    for (name, list) in [
        ("values", &condition.values),
        ("notValues", &condition.not_values),
    ] {
        let at = at.key(name);
        match key {
            "source.ip" | "remote.ip" | "destination.ip" => {
                blocks(check, &CONDITION_ADDRESS, &at, list);
            }
            "destination.port" => ports(check, &CONDITION_PORT, &at, list),
            _ => empty_values(check, &at, list),
        }
    }
}

/// What the action CUSTOM cannot ask for.
fn custom(check: &mut Check<'_>, at: &Path<'_>, rule: &AuthorizationRule) {
    let reason = "this is not known yet when the action CUSTOM is decided";
    let field = at.key("from");
    for (index, from) in rule.from.iter().enumerate() {
        let source = &from.source;
        let asks = [
            &source.principals,
            &source.not_principals,
            &source.request_principals,
            &source.not_request_principals,
            &source.namespaces,
            &source.not_namespaces,
        ];
        let broken = asks.iter().any(|list| !list.is_empty());
        check.tell_if(broken, &CUSTOM_ATTRIBUTE, &field.index(index), reason);
    }
    let field = at.key("when");
    for (index, condition) in rule.when.iter().enumerate() {
        let key = condition.key.as_str();
        let broken = matches!(key, "source.namespace" | "source.principal")
            || key.starts_with("request.auth.");
        check.tell_if(broken, &CUSTOM_ATTRIBUTE, &field.index(index), reason);
    }
}
