//! `reef status` and `reef why`: asks the admin pages of a running Reef and prints for people or as JSON.

mod http;
#[cfg(test)]
mod tests;
mod text;

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

pub(crate) use http::encode;

use crate::cli::{AdminArgs, Output, StatusArgs, WhyArgs};

/// Prints the state of a running Reef.
///
/// # Errors
/// If it does not answer, or `out` cannot be written.
pub fn status(args: &StatusArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let status = page(&args.admin, "/debug/status")?;
    let proxies = page(&args.admin, "/debug/proxies")?;
    let problems = page(&args.admin, "/debug/problems")?;
    match args.output.output {
        Output::Json => {
            let all = json!({ "status": status, "proxies": proxies, "problems": problems });
            print_json(&all, out)
        }
        Output::Text => Ok(out.write_all(text::status(&status, &proxies, &problems).as_bytes())?),
    }
}

/// Prints why a proxy does, or does not, see a service. The answer is whether it does.
///
/// # Errors
/// If Reef does not answer, the proxy is not connected, or `out` cannot be written.
pub fn why(args: &WhyArgs, out: &mut dyn Write) -> anyhow::Result<bool> {
    let path = format!(
        "/debug/why?proxyID={}&service={}",
        encode(&args.proxy),
        encode(&args.service)
    );
    let answer = page(&args.admin, &path)?;
    match args.output.output {
        Output::Json => print_json(&answer, out)?,
        Output::Text => out.write_all(text::why(&answer).as_bytes())?,
    }
    Ok(answer["visible"] == Value::Bool(true))
}

/// Writes one JSON document.
///
/// # Errors
/// If `out` cannot be written.
pub fn print_json(value: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(out.write_all(b"\n")?)
}

/// Asks for a page of JSON.
///
/// # Errors
/// If Reef does not answer, or answers with an error.
pub(crate) fn page(admin: &AdminArgs, path: &str) -> anyhow::Result<Value> {
    let addr = admin.admin_addr;
    let token = token(admin)?;
    let (status, body) = http::get(addr, path, token.as_deref()).with_context(|| {
        format!("no answer from http://{addr}{path}; is `reef serve` running, and is --admin-addr its monitoring address?")
    })?;
    if status != 200 {
        let told = serde_json::from_slice::<Value>(&body).ok();
        let reason = told
            .as_ref()
            .and_then(|value| value["error"].as_str())
            .map(str::to_owned);
        bail!(
            "{}",
            reason.unwrap_or_else(|| format!("http://{addr}{path} answered {status}"))
        );
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("http://{addr}{path} did not answer JSON"))
}

/// Where a pod finds the token of its service account.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The token to send along, if there is one. A pod's own is sent to the same machine only: nobody asked for it to be
/// sent elsewhere, in plaintext.
fn token(admin: &AdminArgs) -> anyhow::Result<Option<String>> {
    let read = |file: &Path| {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("the token in {} cannot be read", file.display()))?;
        let token = text.trim();
        if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
            bail!("{} does not hold a token", file.display());
        }
        Ok(Some(token.to_owned()))
    };
    match &admin.token_file {
        Some(file) => read(file),
        None if !admin.admin_addr.ip().is_loopback() => Ok(None),
        None => match Path::new(POD_TOKEN) {
            own if own.exists() => read(own),
            _ => Ok(None),
        },
    }
}
