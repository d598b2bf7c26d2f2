//! Questions to one API server, and what of its answers is compared.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

/// What somebody may read of `metadata`, of an object or a list.
const METADATA: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "labels",
    "annotations",
    "continue",
    "remainingItemCount",
];

/// Seconds a server may take to fill its caches.
const READY: usize = 60;

/// Asks one server.
pub(super) struct Session<'s> {
    pub(super) base: &'s str,
    /// Arguments of curl for who may do everything, and for who may do nothing.
    pub(super) users: [Vec<String>; 2],
    pub(super) seen: Vec<Value>,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u64,
    pub(super) content_type: String,
    pub(super) body: String,
}

impl<'s> Session<'s> {
    /// Asks until the server is ready to answer: one that has just started says 429 until its caches are filled.
    pub(super) fn send(
        &self,
        user: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let mut answer = self.send_once(user, method, path, body)?;
        for _ in 0..READY {
            if answer.code != 429 {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
            answer = self.send_once(user, method, path, body)?;
        }
        Ok(answer)
    }

    fn send_once(
        &self,
        user: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20"])
            .args([
                "--request",
                method,
                "--write-out",
                "\n%{http_code} %{content_type}",
            ])
            .args(self.users.get(user).into_iter().flatten());
        if body.is_some() {
            let kind = match method {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            curl.args([
                "--header",
                &format!("Content-Type: {kind}"),
                "--data-binary",
                "@-",
            ]);
        }
        let mut child = curl
            .arg(format!("{}{path}", self.base))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run curl")?;
        if let (Some(mut stdin), Some(body)) = (child.stdin.take(), body) {
            stdin.write_all(body.to_string().as_bytes())?;
        }
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{method} {path}: {}",
            output.status
        );
        let text = String::from_utf8(output.stdout)?;
        let (body, last) = text.rsplit_once('\n').context("no status")?;
        let (code, content_type) = last.split_once(' ').unwrap_or((last, ""));
        Ok(Answer {
            code: code.parse()?,
            content_type: content_type.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Asks, and notes what is to be seen.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let answer = self.send(0, method, path, body)?;
        let seen = view(&answer).with_context(|| format!("{method} {path}: {answer:?}"))?;
        self.seen
            .push(json!({"asked": format!("{method} {path}"), "answered": seen}));
        Ok(answer)
    }

    pub(super) fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask("GET", path, None)
    }

    /// The same without a look at what is said in the path, for versions and tokens differ.
    pub(super) fn get_as(&mut self, name: &str, path: &str) -> Result<Answer> {
        let answer = self.get(path)?;
        if let Some(last) = self.seen.last_mut() {
            last["asked"] = json!(name);
        }
        Ok(answer)
    }

    /// The same for another thread.
    pub(super) fn another(&self) -> Self {
        Session {
            base: self.base,
            users: self.users.clone(),
            seen: Vec::new(),
        }
    }

    /// Does something whose answer is compared elsewhere.
    pub(super) fn quietly(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.send(0, method, path, body)?;
        ensure!(answer.code < 300, "{method} {path}: {answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }
}

/// What of an answer somebody may look at.
pub(super) fn view(answer: &Answer) -> Result<Value> {
    let code = answer.code;
    if !answer.content_type.starts_with("application/json") {
        return Ok(json!({"code": code, "text": answer.body.trim()}));
    }
    if answer.body.is_empty() || answer.body.starts_with(r#"{"type":""#) {
        let lines = answer.body.lines().filter(|line| !line.is_empty());
        let mut events = Vec::new();
        for line in lines {
            let event: Value = serde_json::from_str(line)?;
            events.push(json!({"type": event["type"], "object": object(&event["object"])}));
        }
        // How often the server says that nothing happened is its own affair.
        events.dedup_by(|a, b| a["type"] == "BOOKMARK" && a == b);
        return Ok(json!({"code": code, "events": events}));
    }
    let body: Value = serde_json::from_str(&answer.body)?;
    Ok(json!({"code": code, "object": object(&body)}))
}

/// Kind, names, and which fields there are.
fn object(value: &Value) -> Value {
    let mut seen = json!({"kind": value["kind"], "apiVersion": value["apiVersion"]});
    if value["kind"] == "Status" {
        for field in ["status", "reason", "code"] {
            seen[field] = value[field].clone();
        }
        let details = &value["details"];
        for field in ["name", "kind", "group", "retryAfterSeconds"] {
            seen["details"][field] = details[field].clone();
        }
        seen["details"]["cause"] = details["causes"][0]["reason"].clone();
        return seen;
    }
    let mut metadata = Map::new();
    for field in METADATA {
        let there = match &value["metadata"][field] {
            Value::Null => continue,
            name if ["name", "namespace", "generation", "annotations"].contains(&field) => {
                name.clone()
            }
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => json!(match field {
                "resourceVersion" if text.parse::<u64>().is_ok() => "a number",
                _ => "a string",
            }),
            other => other.clone(),
        };
        metadata.insert(field.to_owned(), there);
    }
    seen["metadata"] = Value::Object(metadata);
    if let Some(items) = value["items"].as_array() {
        seen["items"] = items.iter().map(object).collect();
    }
    seen
}
