//! What the webhooks are started with: address, certificate, settings of injection.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tracing::warn;

use super::{WebhookMetrics, Webhooks};
use crate::inject::InjectSettings;

/// Where the chart puts Reef's own settings.
const CONFIG: &str = "/etc/reef/config.yaml";

/// Settings of the admission webhooks.
#[derive(Debug, Clone, Default, Args)]
pub struct WebhookArgs {
    /// Address of the admission webhooks, HTTPS; there are none without it.
    #[arg(long, env = "REEF_HTTPS_ADDR", value_name = "ADDR")]
    pub https_addr: Option<SocketAddr>,
    /// File with the certificate of the webhooks and what signed it, PEM.
    #[arg(
        long,
        env = "REEF_TLS_CERT_FILE",
        requires = "tls_key_file",
        value_name = "FILE"
    )]
    pub tls_cert_file: Option<PathBuf>,
    /// File with the key of that certificate.
    #[arg(
        long,
        env = "REEF_TLS_KEY_FILE",
        requires = "tls_cert_file",
        value_name = "FILE"
    )]
    pub tls_key_file: Option<PathBuf>,
    /// Answer the webhook that refuses objects `reef check` refuses.
    #[arg(long, env = "REEF_VALIDATION")]
    pub validation: bool,
    /// How pods are injected; without `--inject-config`, by `/etc/reef/config.yaml` if that is there.
    #[command(flatten)]
    pub inject: InjectSettings,
}

impl WebhookArgs {
    /// Makes the webhooks ready, and the TLS they are served with. `None`: there are none.
    ///
    /// # Errors
    /// If a file cannot be read, or no pods can be made of the settings.
    pub(in crate::serve) fn open(
        &self,
        metrics: WebhookMetrics,
    ) -> anyhow::Result<Option<(Webhooks, ServerConfig)>> {
        if self.https_addr.is_none() {
            return Ok(None);
        }
        let (Some(cert), Some(key)) = (&self.tls_cert_file, &self.tls_key_file) else {
            warn!("--https-addr without --tls-cert-file: there are no webhooks");
            return Ok(None);
        };
        let mut inject = self.inject.clone();
        if inject.inject_config.is_none() && Path::new(CONFIG).is_file() {
            inject.inject_config = Some(CONFIG.into());
        }
        let settings = Arc::new(inject.load()?);
        // The last value stays after its sender.
        let settings = watch::channel(settings).1;
        let hooks = Webhooks::new(settings, metrics).validating(self.validation);
        Ok(Some((hooks, tls(cert, key)?)))
    }
}

fn tls(cert: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let of = |path: &Path| format!("{} has no certificate or key", path.display());
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_file_iter(cert)
        .with_context(|| of(cert))?
        .collect::<Result<_, _>>()
        .with_context(|| of(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| of(key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| of(cert))
}
