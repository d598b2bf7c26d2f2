//! Istio's pod annotations → [`InterceptOptions`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Cidr, InterceptError, InterceptMode, InterceptOptions, Ports, Ranges};

const MODE: &str = "sidecar.istio.io/interceptionMode";
const INCLUDE_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
const EXCLUDE_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
const INCLUDE_OUT_PORTS: &str = "traffic.sidecar.istio.io/includeOutboundPorts";
const EXCLUDE_OUT_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
const INCLUDE_IN_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";
const EXCLUDE_IN_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
const STATUS_PORT: &str = "status.sidecar.istio.io/port";
const EXCLUDE_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";

impl InterceptOptions {
    /// Reads the annotations of a pod over the defaults. `None`: the pod wants no interception.
    ///
    /// # Errors
    /// [`InterceptError::Annotation`] and [`InterceptError::Cidr`] for values that cannot be read.
    pub fn from_annotations(
        annotations: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, InterceptError> {
        let text = |name: &str| annotations.get(name).map(|value| value.trim());
        let mode = match text(MODE) {
            None | Some("" | "REDIRECT") => InterceptMode::Redirect,
            Some("TPROXY") => InterceptMode::Tproxy,
            Some("NONE") => return Ok(None),
            Some(other) => {
                return Err(bad(MODE, other, "is not REDIRECT, TPROXY or NONE"));
            }
        };
        let mut options = Self {
            mode,
            ..Self::default()
        };
        match text(INCLUDE_RANGES) {
            None | Some("*") => {}
            Some(list) => options.include_outbound = Ranges::Only(ranges(list)?),
        }
        if let Some(list) = text(EXCLUDE_RANGES) {
            options.exclude_outbound = ranges(list)?;
        }
        if let Some(list) = text(INCLUDE_OUT_PORTS) {
            options.include_outbound_ports = ports(INCLUDE_OUT_PORTS, list)?;
        }
        if let Some(list) = text(EXCLUDE_OUT_PORTS) {
            options.exclude_outbound_ports = ports(EXCLUDE_OUT_PORTS, list)?;
        }
        match text(INCLUDE_IN_PORTS) {
            None | Some("*") => {}
            Some(list) => {
                options.include_inbound_ports = Ports::Only(ports(INCLUDE_IN_PORTS, list)?);
            }
        }
        if let Some(list) = text(EXCLUDE_IN_PORTS) {
            options.exclude_inbound_ports = ports(EXCLUDE_IN_PORTS, list)?;
        }
        // Where probes of the kubelet are answered; 0 turns that off.
        if let Some(port) = text(STATUS_PORT).filter(|port| *port != "0") {
            options
                .exclude_inbound_ports
                .extend(ports(STATUS_PORT, port)?);
        }
        if let Some(list) = text(EXCLUDE_INTERFACES) {
            for name in items(list) {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
                // Kernel limit; also keeps anything else out of the rules.
                if name.len() > 15 || !name.chars().all(plain) || name.starts_with('-') {
                    return Err(bad(EXCLUDE_INTERFACES, name, "is not an interface"));
                }
                options.exclude_interfaces.insert(name.to_owned());
            }
        }
        Ok(Some(options))
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn ranges(list: &str) -> Result<Vec<Cidr>, InterceptError> {
    items(list).map(str::parse).collect()
}

fn ports(name: &'static str, list: &str) -> Result<BTreeSet<u16>, InterceptError> {
    items(list)
        .map(|item| {
            item.parse()
                .ok()
                .ok_or_else(|| bad(name, item, "is not a port"))
        })
        .collect()
}

fn bad(name: &'static str, value: &str, problem: &'static str) -> InterceptError {
    InterceptError::Annotation {
        name,
        value: value.to_owned(),
        problem,
    }
}
