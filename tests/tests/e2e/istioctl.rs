//! `istioctl proxy-status` against Reef: its requests over Python's gRPC library, its reading of what comes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;
use serde_json::Value;

use crate::proxyless::{Client, SERVICES, XDS, start_reef};

const SYNCZ: &str = "istio.io/debug/syncz";
const CONFIG_DUMP: &str = "istio.io/debug/config_dump";
/// The proxy that is connected: the client of `proxyless`.
const PROXY: &str = "client.default";

/// Asks once.
fn ask(address: &str, question: &[&str]) -> Result<Value> {
    let set = |name: &str| {
        std::env::var(name).with_context(|| format!("{name} is not set; `cargo xtask test` does"))
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/istioctl.py");
    let output = Command::new(set("REEF_GRPC_PYTHON")?)
        // Leaves no compiled files beside the scripts.
        .arg("-B")
        .arg(script)
        .arg(address)
        .args(question)
        .env("PYTHONPATH", set("REEF_GRPC_SITE")?)
        .output()?;
    let failed = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{failed}");
    serde_json::from_slice(&output.stdout).with_context(|| failed.into_owned())
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[test]
fn proxy_status_lists_proxies_and_dumps_what_one_holds() {
    let name = "istioctl::proxy_status_lists_proxies_and_dumps_what_one_holds";
    isolated(name, |_| {
        let work = tempfile::tempdir()?;
        let config = work.path().join("config");
        std::fs::create_dir(&config)?;
        std::fs::write(config.join("services.yaml"), SERVICES)?;
        let _reef = start_reef(work.path())?;

        // Nobody is connected, and who asks is nobody.
        let empty = ask(XDS, &[SYNCZ])?;
        assert_eq!(empty["type_url"], SYNCZ, "{empty}");
        assert_eq!(list(&empty, "/resources").len(), 0, "{empty}");
        let told = empty["identifier"].as_str().context("an identifier")?;
        let identifier: Value = serde_json::from_str(told)?;
        assert_eq!(identifier["Component"], "istiod", "{identifier}");
        assert!(identifier["ID"].as_str().is_some_and(|id| !id.is_empty()));
        let version = identifier["Info"]["version"].as_str().unwrap_or_default();
        assert_eq!(version.split('.').count(), 3, "{identifier}");

        let mut client = Client::start("xds:///echo.default.svc.cluster.local:80")?;
        // There are no endpoints, so the call fails, with everything there is.
        assert!(client.who().is_err());
        let mut status = Value::Null;
        let synced = comes_true(|| {
            let Ok(now) = ask(XDS, &[SYNCZ]) else {
                return false;
            };
            status = now;
            let configs = list(&status, "/resources/0/client/configs");
            configs.len() == 4 && configs.iter().all(|config| config["status"] == "SYNCED")
        });
        ensure!(synced, "never in sync: {status}");
        let resource = &status["resources"][0];
        assert_eq!(list(&status, "/resources").len(), 1, "{status}");
        let kind = "type.googleapis.com/envoy.service.status.v3.ClientConfig";
        assert_eq!(resource["type"], kind);
        let proxy = &resource["client"];
        assert_eq!(
            proxy["id"],
            "sidecar~10.9.0.9~client.default~default.svc.cluster.local"
        );
        assert_eq!(proxy["metadata"]["CLUSTER_ID"], "Kubernetes", "{proxy}");
        assert_eq!(proxy["metadata"]["NAMESPACE"], "default", "{proxy}");
        let types: Vec<&str> = list(proxy, "/configs")
            .iter()
            .filter_map(|config| config["type_url"].as_str())
            .collect();
        assert!(types.is_sorted(), "{types:?}");
        assert!(
            list(proxy, "/configs")
                .iter()
                .all(|config| config["updated"] == true)
        );

        let dump = ask(XDS, &[CONFIG_DUMP, PROXY])?;
        let shown: Vec<(&str, usize)> = list(&dump, "/resources")
            .iter()
            .map(|resource| {
                let kind = resource["type"].as_str().unwrap_or_default();
                let short = kind.rsplit('.').next().unwrap_or_default();
                (short, list(resource, "/names").len())
            })
            .collect();
        assert!(
            matches!(
                shown[..],
                [
                    ("ClustersConfigDump", 1..),
                    ("ListenersConfigDump", 1..),
                    ("RoutesConfigDump", 1..),
                ]
            ),
            "{dump}"
        );
        let cluster = Value::from("outbound|80||echo.default.svc.cluster.local");
        assert!(
            list(&dump, "/resources/0/names").contains(&cluster),
            "{dump}"
        );

        // Only this makes istioctl ask the next replica: one resource, with these words.
        let elsewhere = ask(XDS, &[CONFIG_DUMP, "nobody.default"])?;
        assert_eq!(list(&elsewhere, "/resources").len(), 1, "{elsewhere}");
        let text = elsewhere["resources"][0]["text"]
            .as_str()
            .unwrap_or_default();
        assert!(
            text.contains("Proxy not connected to this Pilot instance"),
            "{text}"
        );

        let page = ask(XDS, &["istio.io/debug", "syncz?namespace=default"])?;
        assert_eq!(page["resources"][0]["type"], "istio.io/debug", "{page}");
        let body = page["resources"][0]["text"].as_str().unwrap_or_default();
        let rows: Value = serde_json::from_str(body)?;
        assert_eq!(rows[0]["proxy"], PROXY, "{rows}");
        let two = ask(XDS, &[CONFIG_DUMP, PROXY, PROXY])?;
        assert_eq!(two["code"], "INVALID_ARGUMENT", "{two}");
        let unknown = ask(XDS, &["istio.io/debug/nothing"])?;
        assert_eq!(unknown["code"], "INVALID_ARGUMENT", "{unknown}");
        Ok(())
    })
    .unwrap();
}
