//! Tests against real kernels, Envoys and Reef; each in a namespace of its own.

#[path = "e2e/capture.rs"]
mod capture;
#[path = "e2e/dashboard.rs"]
mod dashboard;
#[path = "e2e/demo_mesh.rs"]
mod demo_mesh;
#[path = "e2e/injected.rs"]
mod injected;
#[path = "e2e/interception.rs"]
mod interception;
#[path = "e2e/istioctl.rs"]
mod istioctl;
#[path = "e2e/kinds.rs"]
mod kinds;
#[path = "e2e/networks.rs"]
mod networks;
#[path = "e2e/order.rs"]
mod order;
#[path = "e2e/pods.rs"]
mod pods;
#[path = "e2e/proxyless.rs"]
mod proxyless;
#[path = "e2e/restart.rs"]
mod restart;
#[path = "e2e/security.rs"]
mod security;
#[path = "e2e/support.rs"]
mod support;
#[path = "e2e/traffic_destination.rs"]
mod traffic_destination;
#[path = "e2e/traffic_entries.rs"]
mod traffic_entries;
#[path = "e2e/traffic_http.rs"]
mod traffic_http;
#[path = "e2e/traffic_logs.rs"]
mod traffic_logs;
#[path = "e2e/traffic_tcp.rs"]
mod traffic_tcp;
