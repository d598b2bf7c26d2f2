//! Reef over a real API server, with real Envoys; each test in a namespace of its own.
//!
//! With `REEF_SOAK` set (`cargo xtask soak`) faults last as long as in life.

#[path = "kube/certs.rs"]
mod certs;
#[path = "kube/channel.rs"]
mod channel;
#[path = "kube/chart.rs"]
mod chart;
#[path = "kube/contract.rs"]
mod contract;
#[path = "kube/deployment.rs"]
mod deployment;
#[path = "kube/encoding.rs"]
mod encoding;
#[path = "kube/faults.rs"]
mod faults;
#[path = "kube/inject.rs"]
mod inject;
#[path = "kube/kinds.rs"]
mod kinds;
#[path = "kube/machines.rs"]
mod machines;
#[path = "kube/objects.rs"]
mod objects;
#[path = "kube/outage.rs"]
mod outage;
#[path = "kube/rights.rs"]
mod rights;
#[path = "kube/status.rs"]
mod status;
#[path = "kube/support.rs"]
mod support;
#[path = "kube/traffic.rs"]
mod traffic;
#[path = "kube/webhook.rs"]
mod webhook;
