//! A source whose batches are handed in, for tests and for programs that embed Reef.

use reef_config::ChangeBatch;
use tokio::sync::mpsc;

use crate::Source;

/// Batches that may wait before whoever hands them in has to.
const WAITING_BATCHES: usize = 16;

/// Emits what its [`MemoryHandle`] is given.
#[derive(Debug)]
pub struct MemorySource {
    batches: mpsc::Receiver<ChangeBatch>,
}

/// Hands batches to a [`MemorySource`]; the source ends when it is dropped.
#[derive(Debug, Clone)]
pub struct MemoryHandle {
    batches: mpsc::Sender<ChangeBatch>,
}

impl MemorySource {
    /// A source and its handle.
    #[must_use]
    pub fn channel() -> (MemoryHandle, Self) {
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
        (MemoryHandle { batches: sender }, Self { batches: receiver })
    }
}

impl MemoryHandle {
    /// Hands in a batch; `false` if the source has ended.
    pub async fn send(&self, batch: ChangeBatch) -> bool {
        self.batches.send(batch).await.is_ok()
    }
}

impl Source for MemorySource {
    async fn run(mut self, out: mpsc::Sender<ChangeBatch>) {
        while let Some(batch) = self.batches.recv().await {
            if out.send(batch).await.is_err() {
                return;
            }
        }
    }
}
