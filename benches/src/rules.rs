//! What each kind of rule costs: cold generation for one proxy, and one changed object, in this process.
//!
//! Allocations and bytes repeat from run to run; time is told in milliseconds of this machine and as the ratio of both.

use std::fmt::Write as _;
use std::sync::Arc;

use allocation_counter::measure as count;
use anyhow::{Context as _, Result};
use reef_config::Change;
use reef_mesh::{ChangeReport, Locality, MeshIndex, ProxyNode};
use reef_push::PushEngine;

use crate::clock;
use crate::record::Record;
use crate::repeats::{Repeats, least, of, ratio, read};
use crate::sync::number;

/// How often cold generation is timed; the least counts.
const COLD_REPEATS: usize = 3;

/// A mesh as text, and one object of it in two wordings.
struct Case {
    name: String,
    mesh: String,
    changed: [String; 2],
}

/// Measures all cases, and notes them.
pub(crate) fn measure(record: &mut Record, repeats: &mut Repeats) -> Result<()> {
    for case in cases() {
        of_case(&case, record, repeats).with_context(|| format!("case {}", case.name))?;
    }
    Ok(())
}

fn of_case(case: &Case, record: &mut Record, repeats: &mut Repeats) -> Result<()> {
    let objects: Vec<Change> = applied(&case.mesh);
    let changed: Vec<Vec<Change>> = case.changed.iter().map(|text| applied(text)).collect();
    anyhow::ensure!(
        changed.iter().all(|changes| changes.len() == 1),
        "one object changes"
    );
    let cold = || -> Result<(MeshIndex, PushEngine)> {
        let mut index = MeshIndex::new("cluster.local");
        let mut engine = PushEngine::default();
        index.apply(of(objects.clone()));
        engine.apply(Arc::clone(index.snapshot()), &ChangeReport::default());
        engine.connect(client()?);
        Ok((index, engine))
    };
    let mut world = Err(anyhow::anyhow!("not measured"));
    let info = count(|| world = cold());
    let (mut index, mut engine) = world?;
    let problems = engine.problems().len() + index.problems().len();
    let sizes = engine.sizes();
    let mut fastest = None;
    for _ in 0..COLD_REPEATS {
        let started = clock::now();
        let made = cold()?;
        let took = started.elapsed();
        drop(made);
        fastest = Some(fastest.map_or(took, |before: std::time::Duration| before.min(took)));
    }
    let cold_time = fastest.unwrap_or_default();

    let mut bytes = 0;
    let mut edit = |at: usize| {
        let changes = changed.get(at % 2).cloned().unwrap_or_default();
        if let Some((snapshot, report)) = index.apply(of(changes)) {
            let plan = engine.apply(snapshot, &report);
            bytes = plan.stats.build.bytes;
        }
    };
    // The first edits make room in tables.
    edit(0);
    edit(1);
    let edited = count(|| edit(0));
    let mut at = 0;
    let warm = least(|| {
        at += 1;
        edit(at);
    });

    let name = &case.name;
    repeats.allocations(&format!("{name}: cold"), info);
    repeats.allocations(&format!("{name}: one changed object"), edited);
    repeats.note(
        &format!("{name}: bytes held"),
        u64::try_from(sizes.resource_bytes)?,
    );
    repeats.note(
        &format!("{name}: bytes made of one change"),
        u64::try_from(bytes)?,
    );
    let place = ("rules", 0);
    let mut note =
        |what: &str, unit, value| record.note(place, &format!("{name}: {what}"), unit, value);
    note("resources", "", number(u64::try_from(sizes.resources)?));
    note("problems", "", number(u64::try_from(problems)?));
    note("cold", "ms", cold_time.as_secs_f64() * 1e3);
    note("one changed object", "ms", warm.as_secs_f64() * 1e3);
    note("cold to one changed object", "×", ratio(cold_time, warm));
    Ok(())
}

fn applied(text: &str) -> Vec<Change> {
    let objects = read(text).into_iter();
    objects
        .map(|object| Change::Apply(Arc::new(object)))
        .collect()
}

/// A proxy that sees everything.
fn client() -> Result<ProxyNode> {
    let id = "sidecar~10.200.0.1~client-1.a~a.svc.cluster.local";
    Ok(ProxyNode::parse(
        id,
        reef_mesh::Metadata::default(),
        Locality::default(),
    )?)
}

/// How many services the cases have; those with the first number have no number in their names.
const COUNTS: [usize; 2] = [100, 1000];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in COUNTS {
        let name = |kind: &str| {
            if count == COUNTS[0] {
                kind.to_owned()
            } else {
                format!("{kind} {count}")
            }
        };
        for (kind, port) in [
            ("http", "http"),
            ("tcp", "tcp"),
            ("tls", "tls"),
            ("auto", "web"),
        ] {
            cases.push(Case {
                name: name(kind),
                mesh: services(count, port),
                changed: [service(7, port, "a"), service(7, port, "b")],
            });
        }
        let joined = |one: fn(usize, &str) -> String| {
            let rules = (0..count).map(|at| one(at, "a"));
            services(count, "http") + &rules.collect::<String>()
        };
        let unscoped = if count == COUNTS[0] {
            "virtualservice"
        } else {
            "unscoped"
        };
        cases.push(Case {
            name: unscoped.to_owned(),
            mesh: joined(virtual_service),
            changed: [virtual_service(7, "a"), virtual_service(7, "b")],
        });
        cases.push(Case {
            name: name("destinationrule"),
            mesh: joined(destination_rule),
            changed: [destination_rule(7, "a"), destination_rule(7, "b")],
        });
        let entries: String = (0..count)
            .map(|at| {
                let workloads = (0..10).map(|of| workload_entry(at, of, "a"));
                service_entry(at) + &workloads.collect::<String>()
            })
            .collect();
        cases.push(Case {
            name: name("serviceentry-workloadentry"),
            mesh: entries,
            changed: [workload_entry(7, 3, "a"), workload_entry(7, 3, "b")],
        });
    }
    cases
}

fn services(count: usize, port: &str) -> String {
    (0..count)
        .map(|at| service(at, port, "a") + &slice(at, port))
        .collect()
}

fn meta(kind: &str, name: &str, more: &str) -> String {
    format!("kind: {kind}\nmetadata: {{name: {name}, namespace: a{more}}}\n")
}

/// A Service; the wording is a label, of which nothing but the Service differs, or its port.
fn service(at: usize, port: &str, wording: &str) -> String {
    let number = if wording == "a" { 80 } else { 81 };
    let (one, two) = (at / 250, at % 250 + 1);
    let head = meta("Service", &format!("s{at}"), "");
    format!(
        "apiVersion: v1\n{head}spec: {{clusterIP: 10.96.{one}.{two}, selector: {{app: s{at}}}, \
         ports: [{{name: {port}, port: {number}, targetPort: 8080}}]}}\n---\n"
    )
}

fn slice(at: usize, port: &str) -> String {
    let labels = format!(", labels: {{kubernetes.io/service-name: s{at}}}");
    let mut text = format!(
        "apiVersion: discovery.k8s.io/v1\n{}addressType: IPv4\n\
         ports: [{{name: {port}, port: 8080, protocol: TCP}}]\nendpoints:\n",
        meta("EndpointSlice", &format!("s{at}-x"), &labels)
    );
    for endpoint in 1..=5 {
        let (one, two) = (at / 250, at % 250 + 1);
        let address = format!("10.{}.{one}.{two}", 100 + endpoint);
        // Writing to a String cannot fail.
        let _ok = writeln!(
            text,
            "- {{addresses: [{address}], conditions: {{ready: true}}}}"
        );
    }
    text + "---\n"
}

fn virtual_service(at: usize, wording: &str) -> String {
    let head = meta("VirtualService", &format!("v{at}"), "");
    format!(
        "apiVersion: networking.istio.io/v1\n{head}spec:\n  hosts: [s{at}]\n  http:\n  \
         - match: [{{uri: {{prefix: /{wording}}}, headers: {{x-user: {{exact: jason}}}}}}]\n    \
         timeout: 5s\n    retries: {{attempts: 3, perTryTimeout: 2s}}\n    \
         route: [{{destination: {{host: s{at}}}, weight: 90}}, {{destination: {{host: s0}}, weight: 10}}]\n  \
         - route: [{{destination: {{host: s{at}}}}}]\n---\n"
    )
}

fn destination_rule(at: usize, wording: &str) -> String {
    let head = meta("DestinationRule", &format!("d{at}"), "");
    let limit = if wording == "a" { 100 } else { 200 };
    let subsets: String = (1..=5)
        .map(|of| format!("  - {{name: v{of}, labels: {{version: v{of}}}}}\n"))
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1\n{head}spec:\n  host: s{at}\n  trafficPolicy:\n    \
         connectionPool: {{tcp: {{maxConnections: {limit}}}}}\n    \
         outlierDetection: {{consecutive5xxErrors: 7, interval: 10s}}\n  subsets:\n{subsets}---\n"
    )
}

fn service_entry(at: usize) -> String {
    let head = meta("ServiceEntry", &format!("e{at}"), "");
    format!(
        "apiVersion: networking.istio.io/v1\n{head}spec:\n  hosts: [e{at}.example.com]\n  resolution: STATIC\n  \
         location: MESH_INTERNAL\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  \
         workloadSelector: {{labels: {{app: e{at}}}}}\n---\n"
    )
}

fn workload_entry(at: usize, of: usize, wording: &str) -> String {
    let head = meta("WorkloadEntry", &format!("w{at}-{of}"), "");
    let last = if wording == "a" { of + 1 } else { of + 101 };
    format!(
        "apiVersion: networking.istio.io/v1\n{head}spec:\n  address: 10.{}.{}.{last}\n  \
         labels: {{app: e{at}}}\n---\n",
        50 + at / 250,
        at % 250
    )
}
