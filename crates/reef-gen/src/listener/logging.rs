//! Which access logs a class writes: those of the `Telemetry` objects for it, else the mesh's.

use std::sync::Arc;

use reef_config::Problem;
use reef_config::cel;
use reef_config::log_provider::{BUILT_IN, LogFormat, LogProvider, LogService};
use reef_config::names::{Hostname, Namespace};
use reef_mesh::{AccessLogFormat, AccessLogRule, MeshSettings, MeshSnapshot};

use crate::input::{ClassInput, has_cluster, is_unresolvable};
use crate::names;
use crate::xds::log::{LogTarget, Logger, Logs, Sink};

/// Logs of what leaves the workload.
pub(crate) fn outbound(input: &ClassInput, problems: &mut Vec<Problem>) -> Logs {
    logs(input, input.proxy.logs.outbound.as_deref(), problems)
}

/// Logs of what arrives at it.
pub(crate) fn inbound(input: &ClassInput, problems: &mut Vec<Problem>) -> Logs {
    logs(input, input.proxy.logs.inbound.as_deref(), problems)
}

fn logs(input: &ClassInput, rules: Option<&[AccessLogRule]>, problems: &mut Vec<Problem>) -> Logs {
    let settings = input.snapshot.settings();
    let loggers = match rules {
        None => settings
            .proxies
            .access_log
            .iter()
            .map(|log| Logger {
                sink: Sink::File {
                    path: log.path.clone(),
                    format: log.format.clone(),
                },
                filter: None,
            })
            .collect(),
        Some(rules) => rules
            .iter()
            // A filter Envoy refuses is told by `telemetry_problems`.
            .filter(|rule| {
                rule.filter
                    .as_deref()
                    .is_none_or(|it| cel::check(it).is_ok())
            })
            .filter_map(|rule| {
                let provider = settings.logs.by_name.get(&rule.provider)?;
                match sink(input, &rule.provider, provider) {
                    Ok(sink) => Some(Logger {
                        sink,
                        filter: rule.filter.clone(),
                    }),
                    Err(reason) => {
                        let reason = format!("log provider `{}`: {reason}", rule.provider);
                        problems.push(Problem::warning("log-provider", reason));
                        None
                    }
                }
            })
            .collect(),
    };
    Logs {
        loggers,
        of_listeners: !settings.config.disable_envoy_listener_log,
    }
}

fn sink(input: &ClassInput, name: &str, provider: &LogProvider) -> Result<Sink, String> {
    Ok(match provider {
        LogProvider::File { path, format } => Sink::File {
            path: path.clone(),
            format: match format {
                None if name == BUILT_IN => {
                    let settings = input.snapshot.settings();
                    AccessLogFormat::of_mesh(&settings.config)
                }
                None => AccessLogFormat::DefaultText,
                Some(LogFormat::Text(text) | LogFormat::Both(text, _)) => {
                    AccessLogFormat::of_text(text)
                }
                Some(LogFormat::Fields(fields)) => AccessLogFormat::Json(Arc::new(fields.clone())),
            },
        },
        LogProvider::HttpService(service) => Sink::Http(target(input, service)?),
        LogProvider::TcpService(service) => Sink::Tcp(target(input, service)?),
        LogProvider::OpenTelemetry { service, format } => {
            let (body, fields) = match format.clone() {
                None => (None, None),
                Some(LogFormat::Text(text)) => (Some(text), None),
                Some(LogFormat::Fields(fields)) => (None, Some(fields)),
                Some(LogFormat::Both(text, fields)) => (Some(text), Some(fields)),
            };
            Sink::OpenTelemetry {
                target: target(input, service)?,
                body,
                fields,
            }
        }
    })
}

/// The cluster of a service that takes logs; Envoy must have it.
fn target(input: &ClassInput, service: &LogService) -> Result<LogTarget, String> {
    let (namespace, host) = match service.service.split_once('/') {
        Some((namespace, host)) => (Some(Namespace::from(namespace)), host),
        None => (None, &*service.service),
    };
    let host = Hostname::from(host);
    let known = input
        .scope
        .service(&host)
        .map(|scoped| &scoped.service)
        .filter(|known| namespace.is_none_or(|wanted| wanted == known.key.namespace))
        .filter(|known| {
            known.port(service.port).is_some_and(|port| {
                has_cluster(known, port) && !is_unresolvable(input, known, port)
            })
        });
    if known.is_none() {
        return Err(format!(
            "port {} of `{}` has no cluster here, so nothing is logged to it",
            service.port, service.service
        ));
    }
    Ok(LogTarget {
        cluster: names::outbound_cluster(service.port, &host),
        authority: host.shared().clone(),
        service: service.clone(),
    })
}

/// True if a rule has logs sent to a service, which the scope must hold.
pub(crate) fn logs_to_service(settings: &MeshSettings, rule: &AccessLogRule) -> bool {
    let provider = settings.logs.by_name.get(&rule.provider);
    provider.is_some_and(|provider| service(provider).is_some())
}

/// True if logs of the mesh go to this host.
pub(crate) fn takes_logs(settings: &MeshSettings, host: &Hostname) -> bool {
    let mut providers = settings.logs.by_name.values().filter_map(service);
    providers.any(|service| *host_of(service) == **host)
}

fn service(provider: &LogProvider) -> Option<&LogService> {
    match provider {
        LogProvider::File { .. } => None,
        LogProvider::HttpService(service)
        | LogProvider::TcpService(service)
        | LogProvider::OpenTelemetry { service, .. } => Some(service),
    }
}

/// The host of a service that takes logs, without the namespace that may stand before.
fn host_of(service: &LogService) -> &str {
    let named = &*service.service;
    named.split_once('/').map_or(named, |(_, host)| host)
}

/// What of `Telemetry` objects has no effect. Sorted.
pub(crate) fn telemetry_problems(snapshot: &MeshSnapshot) -> Vec<Problem> {
    let known = &snapshot.settings().logs;
    let mut found = Vec::new();
    for rule in snapshot.every_telemetry() {
        let mut told = |field: String, code: &'static str, reason: String| {
            found.push(Problem::warning(code, reason).of(&rule.object).field(field));
        };
        for (field, is_there) in [
            ("spec.tracing", !rule.spec.tracing.is_empty()),
            ("spec.metrics", !rule.spec.metrics.is_empty()),
        ] {
            if is_there {
                let reason = "only access logs are read of it, the rest has no effect";
                told(field.to_owned(), "not-applied", reason.to_owned());
            }
        }
        for (at, logging) in rule.spec.access_logging.iter().enumerate() {
            let place = format!("spec.accessLogging[{at}]");
            for provider in &logging.providers {
                if !known.by_name.contains_key(provider.name.as_str()) {
                    let reason = format!("the mesh has no log provider `{}`", provider.name);
                    told(format!("{place}.providers"), "log-provider", reason);
                }
            }
            let expression = logging.filter.as_ref().map(|filter| &filter.expression);
            if let Some(Err(reason)) = expression
                .filter(|expression| !expression.is_empty())
                .map(|expression| cel::check(expression))
            {
                let reason = format!("{reason}; Envoy would refuse it, so this log is left out");
                told(format!("{place}.filter.expression"), "log-filter", reason);
            }
        }
    }
    found.sort();
    found
}
