//! `process_*` metrics, read from `/proc/self` at scrape time. Where it cannot be read they stay zero.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock;

/// Clock ticks per second in `/proc`; fixed at 100 in Linux's interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes per page; reef's targets (x86-64, and arm64 as usually configured) have 4 KiB pages.
const PAGE_BYTES: i64 = 4096;

/// The gauges.
#[derive(Debug, Default)]
pub(super) struct Process {
    cpu_seconds: Gauge<f64, AtomicU64>,
    resident_bytes: Gauge,
    open_fds: Gauge,
    threads: Gauge,
    started: Gauge<f64, AtomicU64>,
}

impl Process {
    /// Registers the gauges.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "process_cpu_seconds_total",
            "CPU time used, in seconds",
            self.cpu_seconds.clone(),
        );
        registry.register(
            "process_resident_memory_bytes",
            "Memory resident",
            self.resident_bytes.clone(),
        );
        registry.register(
            "process_open_fds",
            "Open file descriptors",
            self.open_fds.clone(),
        );
        let since = clock::wall().duration_since(std::time::UNIX_EPOCH);
        self.started.set(since.unwrap_or_default().as_secs_f64());
        registry.register(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            self.started.clone(),
        );
        registry.register("process_threads", "Threads", self.threads.clone());
    }

    /// Reads the values.
    pub(super) fn measure(&self) {
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat") {
            // The second field is the program's name in parentheses and may hold anything.
            let fields: Vec<&str> = stat
                .rsplit_once(')')
                .map(|(_, rest)| rest.split_whitespace().collect())
                .unwrap_or_default();
            let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
            if let (Some(user), Some(system)) = (number(11), number(12)) {
                self.cpu_seconds.set((user + system) / TICKS_PER_SECOND);
            }
            if let Some(threads) = fields.get(17).and_then(|field| field.parse().ok()) {
                self.threads.set(threads);
            }
        }
        if let Ok(statm) = std::fs::read_to_string("/proc/self/statm")
            && let Some(pages) = statm
                .split_whitespace()
                .nth(1)
                .and_then(|field| field.parse::<i64>().ok())
        {
            self.resident_bytes.set(pages * PAGE_BYTES);
        }
        if let Ok(fds) = std::fs::read_dir("/proc/self/fd") {
            self.open_fds
                .set(i64::try_from(fds.count()).unwrap_or(i64::MAX));
        }
    }
}
