//! What the webhooks are started with: address, settings of injection.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use reef_inject::Settings;
use reef_kube::WebhookKind;
use tokio::sync::watch;

use super::{WebhookMetrics, Webhooks};
use crate::inject::InjectSettings;

/// Where the chart puts Reef's own settings.
const CONFIG: &str = "/etc/reef/config.yaml";

/// Settings of the admission webhooks.
#[derive(Debug, Clone, Default, Args)]
pub struct WebhookArgs {
    /// Address of the admission webhooks, HTTPS with the certificate of the encrypted port; there are none without it.
    ///
    /// Of an authority that Reef made the API server is told for the injecting webhook with `--inject-config`, for the
    /// validating one with `--validation`.
    #[arg(long, env = "REEF_HTTPS_ADDR", value_name = "ADDR")]
    pub https_addr: Option<SocketAddr>,
    /// Answer the webhook that refuses objects `reef check` refuses.
    #[arg(long, env = "REEF_VALIDATION")]
    pub validation: bool,
    /// How pods are injected; without `--inject-config`, by `/etc/reef/config.yaml` if that is there.
    #[command(flatten)]
    pub inject: InjectSettings,
}

impl WebhookArgs {
    /// The webhooks whose configurations in the API server are Reef's.
    pub(in crate::serve) fn registered(&self) -> Vec<WebhookKind> {
        let injecting = self.inject.inject_config.is_some();
        let kinds = [
            (WebhookKind::Mutating, injecting),
            (WebhookKind::Validating, self.validation),
        ];
        let ours = kinds.into_iter().filter(|(_, ours)| *ours);
        ours.map(|(kind, _)| kind).collect()
    }

    /// Makes the webhooks ready, and where their settings may change. `None`: there are none.
    ///
    /// # Errors
    /// If a file cannot be read, or no pods can be made of the settings.
    pub(in crate::serve) fn open(
        &self,
        metrics: WebhookMetrics,
    ) -> anyhow::Result<Option<(Webhooks, watch::Sender<Arc<Settings>>)>> {
        if self.https_addr.is_none() {
            return Ok(None);
        }
        let mut inject = self.inject.clone();
        if inject.inject_config.is_none() && Path::new(CONFIG).is_file() {
            inject.inject_config = Some(CONFIG.into());
        }
        let (sender, settings) = watch::channel(Arc::new(inject.load()?));
        let hooks = Webhooks::new(settings, metrics).validating(self.validation);
        Ok(Some((hooks, sender)))
    }
}
