//! The running server: sockets, threads and signals around the rooms.
//!
//! Threads: the file source has its own; one writer thread owns the [`reef_mesh::MeshIndex`] and the
//! [`reef_push::PushEngine`] and does all generation; the tokio workers read and write sockets and never generate.
//! Debug pages are made on blocking threads from the latest snapshot.

mod access;
pub(crate) mod applied;
mod certs;
mod checker;
mod debug;
pub(crate) mod dump;
mod identity;
mod inspect;
mod kube;
mod metrics;
pub(crate) mod node;
mod ports;
mod provider;
mod registry;
mod running;
mod secure;
mod settings;
mod shared;
mod start;
mod status;
mod tasks;
pub mod webhook;
mod writer;

pub use kube::ClusterSettings;
pub use running::Running;
pub use secure::{Certificate, ChannelSettings};
pub use settings::Settings;
pub use start::start;

use anyhow::Context as _;
use tracing::info;

use crate::cli::ServeArgs;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If an address cannot be bound, a directory is not there, or the settings contradict each other.
pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("reef-io")
        .build()
        .context("the runtime does not start")?;
    let settings = Settings::from(args);
    runtime.block_on(async {
        let running = start(settings).await?;
        info!(
            grpc = %running.grpc_addr(),
            http = %running.http_addr(),
            monitoring = %running.monitoring_addr(),
            "listening"
        );
        signal().await?;
        info!("draining");
        running.drain().await;
        info!("stopped");
        anyhow::Ok(())
    })?;
    // Blocking threads (a debug page in the making) must not hold the process.
    runtime.shutdown_background();
    Ok(())
}

/// Resolves at the first SIGTERM or SIGINT. A second one ends the process at once, as people expect of a second Ctrl-C.
async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    std::thread::spawn(move || {
        // The runtime's threads may be busy draining; this one only waits.
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        runtime.block_on(async {
            let Ok(mut again) = signal(SignalKind::interrupt()) else {
                return;
            };
            again.recv().await;
            std::process::exit(130);
        });
    });
    Ok(())
}
