//! Parts of tests that start real servers: a mesh of real Envoys on this machine.
//!
//! ```text
//! namespace  a network, mount and process namespace of our own; all in it ends with it
//!   └ mesh   bridge, Reef, and per Pod of the manifests:
//!       └ net::Pod  network namespace, iptables rules, Envoy, app
//! cluster    a real API server with its store, for meshes that are read from Kubernetes
//! app        what runs in a pod: HTTP, gRPC, TCP, and a socket by which tests make it call others
//! demo       the demo, which is the same mesh shown to a person
//! pod_runner a very small kubelet: runs what a pod says, in such a network namespace
//! traffic    calls that go on while something changes
//! stream     streams to Reef as strangers open them
//! probe      what this machine makes impossible
//! ```

pub mod app;
pub mod call;
pub mod cluster;
pub mod control;
pub mod demo;
pub mod dns;
pub mod manifest;
pub mod mesh;
pub mod namespace;
pub mod net;
pub mod pod_runner;
pub mod probe;
pub mod stream;
pub mod traffic;
