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
    /// [`InterceptError::Annotation`] for values that cannot be read.
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
            Some(list) => options.include_outbound = Ranges::Only(ranges(INCLUDE_RANGES, list)?),
        }
        if let Some(list) = text(EXCLUDE_RANGES) {
            options.exclude_outbound = ranges(EXCLUDE_RANGES, list)?;
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

    /// The annotations that [`Self::from_annotations`] reads as these options, in canonical spelling; what is at its
    /// default has none. Ports of the proxy itself and how its sockets are told are not said by annotations.
    pub fn annotations(&self) -> BTreeMap<&'static str, String> {
        let mut annotations = BTreeMap::new();
        if self.mode == InterceptMode::Tproxy {
            annotations.insert(MODE, "TPROXY".to_owned());
        }
        if let Ranges::Only(ranges) = &self.include_outbound {
            annotations.insert(INCLUDE_RANGES, list(ranges));
        }
        if let Ports::Only(ports) = &self.include_inbound_ports {
            annotations.insert(INCLUDE_IN_PORTS, list(ports));
        }
        let mut add = |name, list: String| {
            if !list.is_empty() {
                annotations.insert(name, list);
            }
        };
        add(EXCLUDE_RANGES, list(&self.exclude_outbound));
        add(INCLUDE_OUT_PORTS, list(&self.include_outbound_ports));
        add(EXCLUDE_OUT_PORTS, list(&self.exclude_outbound_ports));
        add(EXCLUDE_IN_PORTS, list(&self.exclude_inbound_ports));
        add(EXCLUDE_INTERFACES, list(&self.exclude_interfaces));
        annotations
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(",")
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn ranges(name: &'static str, list: &str) -> Result<Vec<Cidr>, InterceptError> {
    items(list)
        .map(|item| {
            item.parse()
                .ok()
                .ok_or_else(|| bad(name, item, "is not an address range"))
        })
        .collect()
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
