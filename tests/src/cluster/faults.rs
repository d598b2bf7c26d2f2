//! What happens to an API server and its store in bad times.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Cluster, answer_of};
use crate::namespace::run;
use crate::net::Running;

/// Sends a signal to one process.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    run(Command::new("kill").args([format!("-{name}"), pid.to_string()]))
}

impl Cluster {
    fn api_pid(&self) -> Result<u32> {
        let api = self.api.as_ref().context("the API server does not run")?;
        Ok(api.pid())
    }

    /// Makes the API server a black hole: connections stay, nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_api(&self) -> Result<()> {
        signal(self.api_pid()?, "STOP")
    }

    /// Ends what [`Self::stop_api`] began.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cont_api(&self) -> Result<()> {
        signal(self.api_pid()?, "CONT")
    }

    /// Kills the API server: connections are refused.
    pub fn kill_api(&mut self) {
        self.api = None;
    }

    /// Kills the API server and starts it again.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart_api(&mut self) -> Result<()> {
        self.kill_api();
        self.start_api()
    }

    /// Makes the store forget all history: who watches from an old version is told 410.
    ///
    /// # Errors
    /// When etcd refuses.
    pub fn compact(&self) -> Result<()> {
        let now = self.ask_etcd("kv/range", r#"{"key": "AA=="}"#)?;
        let revision = now["header"]["revision"]
            .as_str()
            .with_context(|| format!("no revision in {now}"))?;
        let request = format!(r#"{{"revision": "{revision}", "physical": true}}"#);
        self.ask_etcd("kv/compaction", &request).map(drop)
    }

    /// Asks etcd by its JSON interface.
    ///
    /// # Errors
    /// When it does not answer or refuses.
    pub fn ask_etcd(&self, path: &str, request: &str) -> Result<Value> {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--data",
            "@-",
        ]);
        curl.arg(format!("http://{}/v3/{path}", self.etcd_address()));
        let answer: Value = serde_json::from_str(&answer_of(&mut curl, request)?)?;
        ensure!(answer["error"].is_null(), "{path}: {answer}");
        Ok(answer)
    }

    /// Copies the store, for [`Self::restore_store`]. The API server is restarted meanwhile.
    ///
    /// # Errors
    /// When a server does not come back.
    pub fn back_up_store(&mut self) -> Result<()> {
        self.with_store_down("rm -rf etcd.backup && cp -r etcd etcd.backup")
    }

    /// Puts the copy back: versions of objects go back with it.
    ///
    /// # Errors
    /// When there is no copy or a server does not come back.
    pub fn restore_store(&mut self) -> Result<()> {
        self.with_store_down("test -d etcd.backup && rm -rf etcd && cp -r etcd.backup etcd")
    }

    fn with_store_down(&mut self, script: &str) -> Result<()> {
        self.kill_api();
        if let Some(etcd) = &self.etcd {
            // With SIGKILL the last writes would be lost, as nothing is flushed here.
            signal(etcd.pid(), "TERM")?;
        }
        if let Some(etcd) = &mut self.etcd {
            let gone = crate::mesh::wait(std::time::Duration::from_secs(20), || etcd.ended());
            ensure!(gone, "etcd does not end:\n{}", Running::tail(etcd));
        }
        self.etcd = None;
        run(Command::new("sh")
            .args(["-ec", script])
            .current_dir(&self.work))?;
        self.start_etcd()?;
        self.start_api()
    }
}
