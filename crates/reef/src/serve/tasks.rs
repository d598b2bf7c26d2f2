//! The tasks of a server: they end with it.

use tokio::sync::watch;
use tokio::task::JoinSet;

/// Tasks that are told of the end.
#[derive(Debug)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    stopped: watch::Receiver<bool>,
}

impl Tasks {
    pub(super) fn new(stopped: watch::Receiver<bool>) -> Self {
        let set = JoinSet::new();
        Self { set, stopped }
    }

    /// Waits for the end.
    pub(super) fn end(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // An error means that the sender is gone, which is an end too.
            let _gone = stopped.wait_for(|stop| *stop).await;
        }
    }

    /// Runs what sees to its own end; see [`Tasks::end`].
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(task);
    }

    /// Runs what is dropped at the end, wherever it is.
    pub(super) fn until_end(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let end = self.end();
        self.spawn(async move {
            tokio::select! {
                () = task => {}
                () = end => {}
            }
        });
    }

    /// Waits until all are done.
    pub(super) async fn ended(&mut self) {
        while self.set.join_next().await.is_some() {}
    }
}
