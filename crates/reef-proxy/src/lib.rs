//! What runs beside the application: the bootstrap of its Envoy and its interception rules.
//!
//! ```text
//! BootstrapOptions ─► bootstrap::build ─► Envoy bootstrap (JSON)
//! files of the pod  ─► pod_info::strings ─► labels and annotations
//! pod annotations  ─► InterceptOptions ─► intercept::install_input ─► iptables-restore
//!                                          intercept::install / remove run it
//! ```
//!
//! Everything but [`intercept::install`] and [`intercept::remove`] is a pure function of its
//! options. This crate knows neither the mesh nor the streams: a sidecar learns everything else
//! over xDS.

pub mod bootstrap;
pub mod intercept;
pub mod pod_info;
