//! The Grafana dashboard: a real Prometheus that scrapes a real Reef has an answer to each of its queries.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reef_e2e::call::page;
use reef_e2e::mesh::{MONITORING, comes_true, program};
use reef_e2e::namespace::isolated;
use reef_e2e::net::Running;
use serde_json::Value;

use crate::support::Fixture;

const DASHBOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dashboards");
const OPERATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
const PROMETHEUS: &str = "127.0.0.1:9090";

/// A Service that was not there.
const MORE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: more, namespace: default}\n\
                    spec: {clusterIP: 10.96.200.1, ports: [{name: http, port: 80}]}\n";

#[test]
fn every_query_of_the_dashboard_has_series() {
    isolated(
        "dashboard::every_query_of_the_dashboard_has_series",
        |power| {
            let mesh = Fixture::start(power, "", &["web-1", "cart-1"])?;
            let work = tempfile::tempdir()?;
            let mut prometheus = prometheus(work.path())?;
            // What counts pushes is there after the first one.
            std::fs::write(mesh.config.join("zz-more.yaml"), MORE)?;
            // A rate needs two points; the third says that both were kept.
            let scraped = || {
                value("count_over_time(pilot_push_triggers[1m])").is_ok_and(|count| count >= 3.0)
            };
            ensure!(comes_true(scraped), "{}", prometheus.tail());
            let names: Value =
                serde_json::from_str(&page(PROMETHEUS, "/api/v1/label/__name__/values")?)?;
            let mut known: BTreeSet<String> = serde_json::from_value(names["data"].clone())?;
            known.extend(on_event()?);
            let mut wrong = Vec::new();
            let queries = queries()?;
            ensure!(queries.len() >= 40, "only {} queries", queries.len());
            for query in &queries {
                match ask(query) {
                    Ok(series) if !series.is_empty() => {}
                    answer => wrong.push(format!("{query}: {answer:?}")),
                }
                for name in names_in(query) {
                    if !known.contains(name) {
                        wrong.push(format!("{query}: nothing is called {name}"));
                    }
                }
            }
            ensure!(!prometheus.ended(), "{}", prometheus.tail());
            ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
            drop(mesh);
            Ok(())
        },
    )
    .unwrap();
}

/// Starts Prometheus over Reef's metrics page, a scrape a second.
fn prometheus(work: &Path) -> Result<Running> {
    let config = work.join("prometheus.yaml");
    std::fs::write(
        &config,
        format!(
            "scrape_configs:\n  - job_name: reef\n    scrape_interval: 1s\n    \
             static_configs: [{{targets: [\"{MONITORING}\"]}}]\n"
        ),
    )?;
    let mut command = Command::new(program("prometheus", "PROMETHEUS_BIN")?);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            work.join("data").display()
        ))
        .arg(format!("--web.listen-address={PROMETHEUS}"));
    Running::start(&mut command, work.join("prometheus.log"))
}

/// The series of a query.
fn ask(query: &str) -> Result<Vec<Value>> {
    let mut path = "/api/v1/query?query=".to_owned();
    for byte in query.bytes() {
        write!(path, "%{byte:02x}")?;
    }
    let answer: Value = serde_json::from_str(&page(PROMETHEUS, &path)?)?;
    let series = answer["data"]["result"].as_array();
    Ok(series.with_context(|| format!("{answer}"))?.clone())
}

/// The one value of a query.
fn value(query: &str) -> Result<f64> {
    let series = ask(query)?;
    let one = series.first().context("no series")?;
    let text = one["value"][1].as_str().context("no value")?;
    Ok(text.parse()?)
}

/// Every query of every dashboard, as Grafana would send it for the job `reef`.
fn queries() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(DASHBOARDS)? {
        let text = std::fs::read_to_string(entry?.path())?;
        expressions(&serde_json::from_str(&text)?, &mut found);
    }
    Ok(found)
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| name == "expr") {
                    Some(text) => {
                        let text = text.replace("$job", "reef");
                        found.push(text.replace("$__rate_interval", "1m"));
                    }
                    None => expressions(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// The metrics a query selects: the word before each brace.
fn names_in(query: &str) -> Vec<&str> {
    let parts: Vec<&str> = query.split('{').collect();
    let before = parts.split_last().map_or(&[][..], |(_, before)| before);
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let names = before.iter().filter_map(|text| text.rsplit(word).next());
    names.collect()
}

/// The metrics that the documentation says to appear with their first event.
fn on_event() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(OPERATIONS)?;
    let rows = text.lines().filter(|line| line.contains("| on event |"));
    let name = |row: &str| row.split('`').nth(1).map(str::to_owned);
    // Reef's own are not in that table, which is about istiod's.
    let own = std::iter::once("reef_xds_streams_ended_total".to_owned());
    Ok(rows.filter_map(name).chain(own).collect())
}
