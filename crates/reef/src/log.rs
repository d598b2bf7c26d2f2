//! Logging: one line per event on standard error, text or JSON.

use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, LogOptions};

/// Installs the subscriber of this process; a second call has no effect.
///
/// # Errors
/// If the level is neither a level nor a list of `target=level`.
pub(crate) fn init(options: &LogOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log_level)
        .map_err(|error| anyhow::anyhow!("--log-level `{}`: {error}", options.log_level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // In a test process another test may have installed one already; that one is as good.
    let _already = match options.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
