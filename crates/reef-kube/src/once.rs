//! A cluster read once, for commands that look at it and leave.

use std::time::Duration;

use reef_config::ChangeBatch;
use reef_source::Source as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::{Cluster, KindState, KubeOptions, KubeSource};

/// Why a cluster could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Something is not allowed.
    #[error("no permission to {verb} {resource}")]
    Forbidden {
        /// What.
        verb: &'static str,
        /// Of what.
        resource: String,
    },
    /// It took too long.
    #[error("not read within {} s: {waiting}", .limit.as_secs())]
    TooLong {
        /// The limit.
        limit: Duration,
        /// What was not there.
        waiting: String,
    },
}

/// Reads everything there is.
///
/// # Errors
/// If a kind may not be read, or it takes longer than `limit`.
pub async fn read_once(
    cluster: Cluster,
    options: KubeOptions,
    limit: Duration,
) -> Result<ChangeBatch, ReadError> {
    let source = KubeSource::new(cluster, options);
    let mut states = source.states();
    let (emit, mut batches) = mpsc::channel(1);
    let forbidden = async {
        loop {
            let found = states.borrow_and_update().kinds.values().find_map(|kind| {
                let KindState::Forbidden { verb, resource, .. } = &kind.state else {
                    return None;
                };
                let resource = resource.to_string();
                Some(ReadError::Forbidden { verb, resource })
            });
            if let Some(error) = found {
                return error;
            }
            if states.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    let read = async {
        tokio::select! {
            batch = batches.recv() => Ok(batch.unwrap_or_default()),
            error = forbidden => Err(error),
            () = source.run(emit) => Ok(ChangeBatch::default()),
        }
    };
    let read = timeout(limit, read).await;
    read.unwrap_or_else(|_elapsed| {
        let waiting = states.borrow().waiting();
        Err(ReadError::TooLong {
            limit,
            waiting: waiting.unwrap_or_default(),
        })
    })
}
