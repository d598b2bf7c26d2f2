//! The app of a pod in tests and in the demo; see `reef_e2e::app`.

use anyhow::Result;
use reef_e2e::app::{AppOptions, run};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options = AppOptions::parse(&args)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(options))
}
