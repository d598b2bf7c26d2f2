//! A pod's annotations, read into types before anything is made of them.

use std::collections::BTreeMap;
use std::fmt::Display;

use reef_config::proxy_config::MeshProxyConfig;
use reef_config::{parse, proxy_config};
use reef_proxy::intercept::{InterceptError, InterceptOptions};

use crate::k8s::Resources;
use crate::pod::Pod;
use crate::{Place, Refusal, Settings};

const MODE: &str = "sidecar.istio.io/interceptionMode";
const IMAGE: &str = "sidecar.istio.io/proxyImage";
const LOG_LEVEL: &str = "sidecar.istio.io/logLevel";
const REWRITE_PROBES: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
const PROBE_PORT: &str = "status.sidecar.istio.io/port";
const INITIAL_DELAY: &str = "readiness.status.sidecar.istio.io/initialDelaySeconds";
const PERIOD: &str = "readiness.status.sidecar.istio.io/periodSeconds";
const FAILURES: &str = "readiness.status.sidecar.istio.io/failureThreshold";

/// Annotation, resource, and whether it is a limit.
const RESOURCES: [(&str, &str, bool); 4] = [
    ("sidecar.istio.io/proxyCPU", "cpu", false),
    ("sidecar.istio.io/proxyCPULimit", "cpu", true),
    ("sidecar.istio.io/proxyMemory", "memory", false),
    ("sidecar.istio.io/proxyMemoryLimit", "memory", true),
];

/// Further annotations that have an effect, here or in `reef_proxy::intercept`.
const ALSO_READ: [&str; 15] = [
    "sidecar.istio.io/inject",
    MODE,
    IMAGE,
    LOG_LEVEL,
    REWRITE_PROBES,
    PROBE_PORT,
    INITIAL_DELAY,
    PERIOD,
    FAILURES,
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    "traffic.sidecar.istio.io/includeOutboundPorts",
    "traffic.sidecar.istio.io/excludeOutboundPorts",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/excludeInboundPorts",
];
const EXCLUDE_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";

/// Groups of annotations that mean something to Istio's injector.
const GROUPS: [&str; 4] = [
    "sidecar.istio.io",
    "traffic.sidecar.istio.io",
    "readiness.status.sidecar.istio.io",
    "inject.istio.io",
];

/// Fields of `proxy.istio.io/config` that injection itself, or the bootstrap, applies.
const APPLIED_HERE: [&str; 7] = [
    "concurrency",
    "drainDuration",
    "holdApplicationUntilProxyStarts",
    "interceptionMode",
    "proxyAdminPort",
    "proxyMetadata",
    "terminationDrainDuration",
];

/// Port of Istio's agent, which answers probes there.
const DEFAULT_PROBE_PORT: u16 = 15020;

/// What a pod wants of its sidecar, defaults filled in.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// How traffic is intercepted; `None` if it is not.
    pub(crate) intercept: Option<InterceptOptions>,
    /// Settings of the proxy.
    pub(crate) proxy: MeshProxyConfig,
    /// Its image.
    pub(crate) image: String,
    /// Its log level.
    pub(crate) log_level: String,
    /// Its resources.
    pub(crate) resources: Resources,
    /// Where probes of the application are answered; `None` if they are left alone.
    pub(crate) probe_port: Option<u16>,
    /// How its own readiness is probed.
    pub(crate) readiness: Readiness,
}

/// Numbers of the proxy's readiness probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readiness {
    pub(crate) initial_delay_seconds: u32,
    pub(crate) period_seconds: u32,
    pub(crate) failure_threshold: u32,
}

impl Wishes {
    /// Reads the annotations over the settings; the second part tells what has no effect.
    pub(crate) fn read(
        pod: &Pod<'_>,
        place: &Place<'_>,
        settings: &Settings,
    ) -> Result<(Self, Vec<String>), Refusal> {
        let mut warnings = without_effect(pod);
        let text = |name: &str| pod.annotations.get(name).map(|text| text.trim());
        let mut proxy = settings.proxy_config.clone();
        if let Some(mesh) = place.mesh {
            proxy.overlay(&mesh.under);
        }
        if let Some(config) = pod.annotations.get(proxy_config::ANNOTATION) {
            let (config, unread) = parse::proxy_config(config)
                .map_err(|problem| refuse(proxy_config::ANNOTATION, problem))?;
            proxy.overlay(&config);
            let unread = unread
                .iter()
                .filter(|f| !APPLIED_HERE.contains(&f.as_str()));
            warnings.extend(unread.map(|field| {
                let name = proxy_config::ANNOTATION;
                format!("annotation {name}: {field} has no effect")
            }));
        }
        if let Some(mesh) = place.mesh {
            proxy.overlay(&mesh.over);
        }
        let image = match text(IMAGE) {
            None => settings.proxy_image.as_str(),
            Some(name) => image(name).map_err(|reason| refuse(IMAGE, reason))?,
        };
        let level = match text(LOG_LEVEL) {
            None => settings.log_level.as_str(),
            Some(level) => log_level(level).map_err(|reason| refuse(LOG_LEVEL, reason))?,
        };
        let rewrites = match text(REWRITE_PROBES) {
            None => settings.rewrite_app_http_probe,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                return Err(refuse(
                    REWRITE_PROBES,
                    format!("{other:?} is not true or false"),
                ));
            }
        };
        // 0 turns it off, as in Istio.
        let probe_port = match number::<u16>(pod, PROBE_PORT)? {
            Some(0) => None,
            port => Some(port.unwrap_or(DEFAULT_PROBE_PORT)),
        };
        let readiness = Readiness {
            initial_delay_seconds: number(pod, INITIAL_DELAY)?.unwrap_or(0),
            period_seconds: number(pod, PERIOD)?.unwrap_or(15).max(1),
            failure_threshold: number(pod, FAILURES)?.unwrap_or(4).max(1),
        };
        let wishes = Self {
            intercept: intercept(pod, &proxy)?,
            image: image.to_owned(),
            log_level: level.to_owned(),
            resources: resources(pod, settings)?,
            probe_port: probe_port.filter(|_| rewrites),
            readiness,
            proxy,
        };
        Ok((wishes, warnings))
    }
}

fn intercept(pod: &Pod<'_>, proxy: &MeshProxyConfig) -> Result<Option<InterceptOptions>, Refusal> {
    let own = |(name, text): (&&str, &&str)| ((*name).to_owned(), (*text).to_owned());
    let mut annotations: BTreeMap<String, String> = pod.annotations.iter().map(own).collect();
    if annotations
        .get(MODE)
        .is_none_or(|mode| mode.trim().is_empty())
        && let Some(mode) = proxy.interception_mode
    {
        annotations.insert(MODE.to_owned(), mode.as_str().to_owned());
    }
    InterceptOptions::from_annotations(&annotations).map_err(|error| match error {
        InterceptError::Annotation {
            name,
            value,
            problem,
        } => refuse(name, format!("{:?} {problem}", short(&value))),
        other => refuse(MODE, other),
    })
}

/// As in Istio, one annotation replaces all defaults.
fn resources(pod: &Pod<'_>, settings: &Settings) -> Result<Resources, Refusal> {
    let mut resources = Resources::default();
    let mut is_set = false;
    for (annotation, resource, is_limit) in RESOURCES {
        let Some(text) = pod.annotations.get(annotation) else {
            continue;
        };
        let amount = short(text.trim()).parse();
        let amount = amount.map_err(|error| refuse(annotation, error))?;
        let map = if is_limit {
            &mut resources.limits
        } else {
            &mut resources.requests
        };
        map.insert(resource.to_owned(), amount);
        is_set = true;
    }
    Ok(if is_set {
        resources
    } else {
        settings.resources.clone()
    })
}

/// Annotations of Istio's injector that are not read.
fn without_effect(pod: &Pod<'_>) -> Vec<String> {
    let is_read = |name: &str| {
        ALSO_READ.contains(&name)
            || name == EXCLUDE_INTERFACES
            || RESOURCES.iter().any(|(known, _, _)| *known == name)
    };
    let names = pod.annotations.keys().filter(|name| {
        let group = name.split_once('/').map(|(group, _)| group);
        group.is_some_and(|group| GROUPS.contains(&group)) && !is_read(name)
    });
    names
        .map(|name| format!("annotation {name} has no effect"))
        .collect()
}

fn number<T: std::str::FromStr>(pod: &Pod<'_>, name: &'static str) -> Result<Option<T>, Refusal> {
    let Some(text) = pod.annotations.get(name) else {
        return Ok(None);
    };
    let number = text.trim().parse().ok();
    let wrong = || refuse(name, format!("{:?} is not a number that fits", short(text)));
    number.ok_or_else(wrong).map(Some)
}

/// A reference such as `registry:5000/team/envoy:v1@sha256:…`.
pub(crate) fn image(text: &str) -> Result<&str, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if !text.is_empty() && text.len() <= 512 && text.chars().all(allowed) {
        Ok(text)
    } else {
        Err(format!("{:?} is not an image", short(text)))
    }
}

/// One of Envoy's.
pub(crate) fn log_level(text: &str) -> Result<&str, String> {
    const LEVELS: [&str; 7] = [
        "trace", "debug", "info", "warning", "error", "critical", "off",
    ];
    if LEVELS.contains(&text) {
        Ok(text)
    } else {
        Err(format!(
            "{:?} is not one of {}",
            short(text),
            LEVELS.join(", ")
        ))
    }
}

fn refuse(name: &str, reason: impl Display) -> Refusal {
    Refusal::Annotation {
        name: name.to_owned(),
        reason: reason.to_string(),
    }
}

/// The beginning of a text that may be anything, for a message.
fn short(text: &str) -> &str {
    const LONGEST: usize = 80;
    let end = text.char_indices().nth(LONGEST).map(|(at, _)| at);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}
