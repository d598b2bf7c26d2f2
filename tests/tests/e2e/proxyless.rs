//! Python's gRPC library resolves a service through Reef, without a proxy.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reef_e2e::call;
use reef_e2e::mesh::{MONITORING, comes_true, program};
use reef_e2e::namespace::{isolated, shell};
use reef_e2e::net::Running;
use serde_json::{Value, json};

pub(crate) const XDS: &str = "127.0.0.1:15010";
/// Address of the apps, on the loopback interface; they differ by port.
const APPS: &str = "10.9.0.1";
const ONE: u16 = 18081;
const TWO: u16 = 18082;

/// Two services, of which the client asks for one.
pub(crate) const SERVICES: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: default}
spec: {clusterIP: 10.96.1.1, selector: {app: echo}, ports: [{name: grpc, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: default}
spec: {clusterIP: 10.96.1.2, selector: {app: other}, ports: [{name: grpc, port: 80}]}
"#;

/// The client, in a process of its own.
pub(crate) struct Client {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    pub(crate) fn start(target: &str) -> Result<Self> {
        let set = |name: &str| {
            std::env::var(name)
                .with_context(|| format!("{name} is not set; `cargo xtask test` does"))
        };
        let bootstrap = json!({
            "xds_servers": [{
                "server_uri": XDS,
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }],
            "node": {
                "id": "sidecar~10.9.0.9~client.default~default.svc.cluster.local",
                "metadata": {"NAMESPACE": "default"},
            },
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/proxyless.py");
        let mut child = Command::new(set("REEF_GRPC_PYTHON")?)
            .arg(script)
            .arg(target)
            .env("PYTHONPATH", set("REEF_GRPC_SITE")?)
            .env("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = child.stdin.take().context("standard input is piped")?;
        let answers = child.stdout.take().context("standard output is piped")?;
        Ok(Self {
            child,
            ask,
            answers: BufReader::new(answers),
        })
    }

    /// Calls the service; returns the name of the app that answered.
    pub(crate) fn who(&mut self) -> Result<String> {
        self.ask.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).context("the client ended")?;
        let app = answer["app"].as_str().with_context(|| answer.to_string())?;
        Ok(app.to_owned())
    }

    /// Calls until another app answers, for at most ten seconds. No call may fail.
    fn follows_to(&mut self, app: &str) -> Result<()> {
        let mut failed = None;
        let moved = comes_true(|| match self.who() {
            Ok(who) => who == app,
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        match failed {
            Some(error) => Err(error),
            None => {
                ensure!(moved, "{app} never answered");
                Ok(())
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Says where the endpoints of the service are, as an editor saves a file.
fn endpoints_at(config: &Path, port: u16) -> Result<()> {
    let text = format!(
        "apiVersion: discovery.k8s.io/v1\n\
         kind: EndpointSlice\n\
         metadata: {{name: echo-1, namespace: default, labels: {{kubernetes.io/service-name: echo}}}}\n\
         addressType: IPv4\n\
         ports: [{{name: grpc, port: {port}}}]\n\
         endpoints: [{{addresses: [{APPS}]}}]\n"
    );
    let scratch = config.join(".echo.tmp");
    std::fs::write(&scratch, text)?;
    std::fs::rename(scratch, config.join("echo.yaml"))?;
    Ok(())
}

/// Starts Reef on the loopback interface.
pub(crate) fn start_reef(work: &Path) -> Result<Running> {
    let mut command = Command::new(program("reef", "REEF_BIN")?);
    command
        .args(["serve", "--grpc-addr", XDS, "--monitoring-addr", MONITORING])
        .args(["--http-addr", "127.0.0.1:8080", "--config-dir"])
        .arg(work.join("config"));
    let mut reef = Running::start(&mut command, work.join("reef.log"))?;
    let ready = comes_true(|| reef.ended() || call::page(MONITORING, "/ready").is_ok());
    ensure!(ready && !reef.ended(), "not ready:\n{}", reef.tail());
    Ok(reef)
}

/// How many resources of a type were sent, and that none was rejected.
fn sent(kind: &str) -> Result<u64> {
    let metrics = call::page(MONITORING, "/metrics")?;
    let rejected: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("pilot_total_xds_rejects{") && !line.ends_with(" 0"))
        .collect();
    ensure!(rejected.is_empty(), "{rejected:?}");
    let name = format!("reef_xds_pushed_resources_total{{type=\"{kind}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    Ok(count.map_or(Ok(0), str::parse)?)
}

#[test]
fn python_resolves_a_service_follows_its_endpoints_and_survives_a_restart() {
    let name = "proxyless::python_resolves_a_service_follows_its_endpoints_and_survives_a_restart";
    isolated(name, |_| {
        shell(&format!("ip addr add {APPS}/32 dev lo"))?;
        let work = tempfile::tempdir()?;
        let config = work.path().join("config");
        std::fs::create_dir(&config)?;
        std::fs::write(config.join("services.yaml"), SERVICES)?;
        endpoints_at(&config, ONE)?;
        let mut apps = Vec::new();
        for (app, port) in [("one", ONE), ("two", TWO)] {
            let mut command = Command::new(program("reef-testapp", "REEF_TESTAPP_BIN")?);
            command.args(["--name", app, "--http", &port.to_string()]);
            apps.push(Running::start(&mut command, work.path().join(app))?);
        }
        let mut reef = start_reef(work.path())?;

        let mut client = Client::start("xds:///echo.default.svc.cluster.local:80")?;
        assert_eq!(client.who()?, "one");
        // Subscribed by name: of two services the client holds what it asked for.
        for kind in ["lds", "rds", "cds", "eds"] {
            assert_eq!(sent(kind)?, 1, "{kind}");
        }

        endpoints_at(&config, TWO)?;
        client.follows_to("two")?;
        assert_eq!((sent("eds")?, sent("cds")?, sent("lds")?), (2, 1, 1));

        reef.kill();
        for _ in 0..20 {
            assert_eq!(client.who()?, "two", "without Reef");
            std::thread::sleep(Duration::from_millis(50));
        }
        let _reef = start_reef(work.path())?;
        let back = comes_true(|| {
            sent("eds").is_ok_and(|count| count == 1) && client.who().is_ok_and(|who| who == "two")
        });
        ensure!(back, "the client did not come back");
        endpoints_at(&config, ONE)?;
        client.follows_to("one")
    })
    .unwrap();
}
