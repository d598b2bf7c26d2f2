//! The fake API server of `reef-testkit` answers as the real one does, as far as Reef looks: one table of scenarios is
//! played to both, and what they answer is compared.

#[path = "contract/session.rs"]
mod session;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reef_e2e::cluster::{ADMIN, Cluster, ClusterOptions, REEF};
use reef_e2e::namespace::isolated;
use reef_testkit::fake_api::{FakeApi, Instead};
use serde_json::{Value, json};

use session::{Session, view};

/// The namespace of all objects here.
const PLACE: &str = "/api/v1/namespaces/contract";
const RULES: &str = "/apis/networking.istio.io/v1/namespaces/contract/virtualservices";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/contract/leases";

/// One thing a client of the API does, and what it sees.
type Scenario = fn(&mut Session<'_>) -> Result<()>;

/// In this order, on one server.
const SCENARIOS: [(&str, Scenario); 11] = [
    ("discovery", discovery),
    ("objects are made once", objects),
    ("a list in pages", pages),
    ("a list as a stream", streamed),
    ("a watch from a version", watch),
    ("a watch with a selector", selected),
    ("bookmarks", bookmarks),
    ("a list of the future", future),
    ("no permission", forbidden),
    ("a status with conflicts", status),
    ("a lease with conflicts", lease),
];

fn version(object: &Value) -> Result<&str> {
    object["metadata"]["resourceVersion"]
        .as_str()
        .context("no version")
}

fn service(name: &str, mark: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"mark": mark}},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    })
}

fn rule(name: &str, to: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name},
        "spec": {"hosts": [to], "http": [{"route": [{"destination": {"host": to}}]}]},
    })
}

fn discovery(s: &mut Session<'_>) -> Result<()> {
    let all = s.quietly("GET", "/apis", None)?;
    let groups = all["groups"].as_array().context("no groups")?;
    let ours = groups
        .iter()
        .find(|group| group["name"] == "networking.istio.io");
    let versions = ours.context("no group of Istio's")?["versions"].as_array();
    let v1 = versions.and_then(|all| all.iter().find(|version| version["version"] == "v1"));
    s.seen.push(json!({"kind": all["kind"], "v1": v1}));
    let resources = s.quietly("GET", "/apis/networking.istio.io/v1", None)?;
    let rows = resources["resources"].as_array().context("no resources")?;
    for plural in ["virtualservices", "sidecars"] {
        let row = rows.iter().find(|row| row["name"] == plural);
        let row = row.with_context(|| format!("no {plural}"))?;
        let verbs = row["verbs"].as_array().cloned().unwrap_or_default();
        let can = |verb: &str| verbs.iter().any(|has| has == verb);
        let wanted = [
            "get", "list", "watch", "patch", "update", "create", "delete",
        ];
        let can = wanted.map(can);
        s.seen.push(json!({
            "kind": resources["kind"], "of": resources["groupVersion"], "row": [row["kind"], row["namespaced"]],
            "verbs": can,
        }));
    }
    // A version, a group and a kind that are not installed, and a place below nothing.
    for path in [
        "/apis/networking.istio.io/v9",
        "/apis/none.example.com/v1",
        "/apis/networking.istio.io/v1/none",
        "/apis/none.example.com/v1/none?watch=true",
        "/api/v1/none",
    ] {
        s.get(path)?;
    }
    Ok(())
}

fn objects(s: &mut Session<'_>) -> Result<()> {
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "contract"}});
    s.quietly("POST", "/api/v1/namespaces", Some(&namespace))?;
    let services = format!("{PLACE}/services");
    for (path, object) in [
        (services.as_str(), service("once", "1")),
        (RULES, rule("once", "a")),
    ] {
        s.ask("POST", path, Some(&object))?;
        s.ask("POST", path, Some(&object))?;
        s.get(&format!("{path}/once"))?;
        s.get(&format!("{path}/none"))?;
        s.ask(
            "PATCH",
            &format!("{path}/none"),
            Some(&json!({"metadata": {"labels": {"a": "b"}}})),
        )?;
        s.quietly("DELETE", &format!("{path}/once"), None)?;
        s.get(&format!("{path}/once"))?;
    }
    Ok(())
}

fn pages(s: &mut Session<'_>) -> Result<()> {
    let services = format!("{PLACE}/services");
    for name in ["page-1", "page-2", "page-3"] {
        s.quietly("POST", &services, Some(&service(name, "1")))?;
        s.quietly("POST", RULES, Some(&rule(name, "a")))?;
    }
    for path in [services.as_str(), RULES] {
        let first = s.get(&format!("{path}?limit=2"))?;
        let first: Value = serde_json::from_str(&first.body)?;
        let next = first["metadata"]["continue"]
            .as_str()
            .context("no further page")?;
        let next = next
            .replace('/', "%2F")
            .replace('=', "%3D")
            .replace('+', "%2B");
        s.get_as(
            "the further page",
            &format!("{path}?limit=2&continue={next}"),
        )?;
        s.get(&format!("{path}?limit=2&continue=nonsense"))?;
        s.get(path)?;
    }
    Ok(())
}

/// The query with which Reef asks for a list as a stream.
const STREAM: &str = "watch=true&allowWatchBookmarks=true&timeoutSeconds=1\
    &sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

fn streamed(s: &mut Session<'_>) -> Result<()> {
    for path in [&format!("{PLACE}/services"), RULES, LEASES] {
        s.get(&format!("{path}?{STREAM}"))?;
        // The server may say how far it is when it ends a watch.
        let last = s.seen.last_mut().context("nothing seen")?;
        if let Some(events) = last["answered"]["events"].as_array_mut() {
            events.retain(|event| {
                event["type"] != "BOOKMARK" || !event["object"]["metadata"]["annotations"].is_null()
            });
        }
    }
    Ok(())
}

fn watch(s: &mut Session<'_>) -> Result<()> {
    let services = format!("{PLACE}/services");
    for (path, first, second) in [
        (
            services.as_str(),
            service("followed", "1"),
            service("followed", "2"),
        ),
        (RULES, rule("followed", "a"), rule("followed", "b")),
    ] {
        let before = s.quietly("GET", path, None)?;
        let made = s.quietly("POST", path, Some(&first))?;
        let one = format!("{path}/followed");
        s.quietly("PATCH", &one, Some(&second))?;
        // What changes nothing is no event.
        s.quietly("PATCH", &one, Some(&second))?;
        s.quietly("DELETE", &one, None)?;
        let of =
            |version: &str| format!("{path}?watch=true&timeoutSeconds=1&resourceVersion={version}");
        s.get_as("from before", &of(version(&before)?))?;
        s.get_as("from its creation", &of(version(&made)?))?;
    }
    Ok(())
}

fn selected(s: &mut Session<'_>) -> Result<()> {
    let pods = format!("{PLACE}/pods");
    let before = s.quietly("GET", &pods, None)?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ends"},
        "spec": {"containers": [{"name": "app", "image": "none"}]}, "status": {"phase": "Running"},
    });
    let made = s.quietly("POST", &pods, Some(&pod))?;
    s.seen.push(json!({"phase": made["status"]["phase"]}));
    for phase in ["Running", "Succeeded"] {
        let patch = json!({"status": {"phase": phase}});
        let patched = s.quietly("PATCH", &format!("{pods}/ends/status"), Some(&patch))?;
        s.seen.push(json!({"phase": patched["status"]["phase"]}));
    }
    let selector = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
    s.get(&format!("{pods}?{selector}&limit=1"))?;
    let from = version(&before)?;
    let path = format!("{pods}?{selector}&watch=true&timeoutSeconds=1&resourceVersion={from}");
    s.get_as("pods that did not end", &path).map(drop)
}

fn bookmarks(s: &mut Session<'_>) -> Result<()> {
    let services = format!("{PLACE}/services");
    let other = s.another();
    // The real server tells how far it is two seconds before the end, if something happened since the watch began.
    for _ in 0..3 {
        s.seen.clear();
        let now = s.quietly("GET", &services, None)?;
        let path = format!(
            "{services}?watch=true&allowWatchBookmarks=true&timeoutSeconds=5&resourceVersion={}",
            version(&now)?
        );
        std::thread::scope(|scope| {
            let happens = scope.spawn(|| {
                std::thread::sleep(Duration::from_secs(1));
                other.quietly("POST", &services, Some(&service("marked", "1")))
            });
            s.get_as("one thing happens", &path)?;
            happens.join().unwrap_or_else(|_| bail!("a panic"))
        })?;
        s.quietly("DELETE", &format!("{services}/marked"), None)?;
        let events = s.seen.last().map(|seen| &seen["answered"]["events"]);
        if events.is_some_and(|events| events[1]["type"] == "BOOKMARK") {
            break;
        }
    }
    Ok(())
}

fn future(s: &mut Session<'_>) -> Result<()> {
    let query = "resourceVersion=999999999&resourceVersionMatch=NotOlderThan";
    s.get(&format!("{PLACE}/services?{query}")).map(drop)
}

fn forbidden(s: &mut Session<'_>) -> Result<()> {
    for path in [
        "/api/v1/pods?limit=1",
        "/apis/networking.istio.io/v1/sidecars?watch=true",
    ] {
        let answer = s.send(1, "GET", path, None)?;
        let mut seen = view(&answer)?;
        // Who refuses knows what of; the fake is told to refuse.
        seen["object"]["details"] = Value::Null;
        s.seen.push(seen);
    }
    Ok(())
}

fn status(s: &mut Session<'_>) -> Result<()> {
    let made = s.quietly("POST", RULES, Some(&rule("said", "a")))?;
    let one = format!("{RULES}/said");
    let apart = format!("{one}/status");
    let condition = |version: &str| json!({"metadata": {"resourceVersion": version}, "status": {"observedGeneration": "1"}});
    let first = version(&made)?.to_owned();
    s.ask("PATCH", &apart, Some(&condition(&first)))?;
    // Written since: the version is old now.
    s.ask(
        "PATCH",
        &apart,
        Some(
            &json!({"metadata": {"resourceVersion": first}, "status": {"observedGeneration": "2"}}),
        ),
    )?;
    // The same again changes nothing, not even the version.
    let now = s.quietly("GET", &one, None)?;
    let same = s.quietly("PATCH", &apart, Some(&condition(version(&now)?)))?;
    s.seen
        .push(json!({"same version": version(&same)? == version(&now)?}));
    // Each writes its own part, and only what is wanted counts generations.
    let both = json!({"spec": {"hosts": ["b"]}, "status": {"observedGeneration": "3"}});
    for path in [&apart, &one] {
        s.ask("PATCH", path, Some(&both))?;
        let now = s.quietly("GET", &one, None)?;
        s.seen.push(json!([
            now["spec"]["hosts"],
            now["status"]["observedGeneration"]
        ]));
    }
    s.ask("PATCH", &format!("{RULES}/none/status"), Some(&both))
        .map(drop)
}

fn lease(s: &mut Session<'_>) -> Result<()> {
    let spec = |holder: &str| json!({"holderIdentity": holder, "leaseDurationSeconds": 15});
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "held"}, "spec": spec("a"),
    });
    s.ask("POST", LEASES, Some(&lease))?;
    s.ask("POST", LEASES, Some(&lease))?;
    let one = format!("{LEASES}/held");
    let now = s.quietly("GET", &one, None)?;
    lease["metadata"]["resourceVersion"] = json!(version(&now)?);
    // Two have seen the same version, and one is faster.
    for holder in ["b", "c"] {
        lease["spec"] = spec(holder);
        s.ask("PUT", &one, Some(&lease))?;
    }
    let now = s.quietly("GET", &one, None)?;
    s.seen
        .push(json!({"holder": now["spec"]["holderIdentity"]}));
    lease["metadata"] = json!({"name": "held"});
    s.ask("PUT", &one, Some(&lease))?;
    lease["metadata"] = json!({"name": "none", "resourceVersion": "1"});
    s.ask("PUT", &format!("{LEASES}/none"), Some(&lease))
        .map(drop)
}

/// What a client saw before the server forgot it.
struct Old {
    page: String,
    version: String,
}

fn before_forgetting(s: &Session<'_>) -> Result<Old> {
    let list = s.quietly("GET", &format!("{PLACE}/services?limit=1"), None)?;
    let page = list["metadata"]["continue"].as_str().context("one page")?;
    let page = page
        .replace('/', "%2F")
        .replace('=', "%3D")
        .replace('+', "%2B");
    let version = version(&list)?.to_owned();
    // Something happens afterwards, of which nobody will know.
    s.quietly(
        "POST",
        &format!("{PLACE}/services"),
        Some(&service("later", "1")),
    )?;
    s.quietly("DELETE", &format!("{PLACE}/services/later"), None)?;
    s.quietly("POST", RULES, Some(&rule("later", "a")))?;
    Ok(Old { page, version })
}

/// 410 in both forms: instead of an answer, and as an event within it.
fn forgotten(s: &mut Session<'_>, old: &Old) -> Result<()> {
    let Old { page, version } = old;
    let services = format!("{PLACE}/services");
    s.get_as(
        "an old page",
        &format!("{services}?limit=1&continue={page}"),
    )?;
    for path in [&services, RULES] {
        let path = format!("{path}?watch=true&timeoutSeconds=2&resourceVersion={version}");
        s.get_as("from an old version", &path)?;
    }
    Ok(())
}

fn play(s: &mut Session<'_>) -> Result<Vec<(&'static str, Vec<Value>)>> {
    let mut played = Vec::new();
    for (name, scenario) in SCENARIOS {
        scenario(s).with_context(|| format!("{name} at {}", s.base))?;
        played.push((name, std::mem::take(&mut s.seen)));
    }
    Ok(played)
}

#[test]
fn the_fake_api_server_answers_as_the_real_one() {
    let name = "contract::the_fake_api_server_answers_as_the_real_one";
    isolated(name, |_power| {
        let work = tempfile::tempdir()?;
        let mut cluster = Cluster::start(work.path(), ClusterOptions::default())?;
        let ca = cluster.ca_file().to_string_lossy().into_owned();
        let as_user = |user: &str| -> Result<Vec<String>> {
            let file = std::fs::read_to_string(cluster.kubeconfig_for(user))?;
            let token = file
                .lines()
                .find_map(|line| line.trim().strip_prefix("token: "));
            let token = token.context("no token")?;
            let header = format!("Authorization: Bearer {token}");
            Ok(["--cacert", &ca, "--header", &header]
                .map(str::to_owned)
                .to_vec())
        };
        let users = [as_user(ADMIN)?, as_user(REEF)?];
        let base = format!("https://{}", cluster.address());
        let mut real = Session {
            base: &base,
            users,
            seen: Vec::new(),
        };

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let fake_api = runtime.block_on(FakeApi::start());
        // It knows no users: whoever says so is refused.
        fake_api.install("coordination.k8s.io", "v1", &["leases"]);
        fake_api.script(|asked| {
            let nobody = asked.get("as") == Some("nobody");
            nobody.then(|| Instead::Refuse(403, "forbidden".to_owned(), None))
        });
        let fake_base = format!("http://{}", fake_api.addr());
        let nobody = ["--get", "--data-urlencode", "as=nobody"].map(str::to_owned);
        let mut fake = Session {
            base: &fake_base,
            users: [Vec::new(), nobody.to_vec()],
            seen: Vec::new(),
        };

        let (of_real, of_fake) = std::thread::scope(|scope| {
            let of_real = scope.spawn(|| play(&mut real));
            let of_fake = play(&mut fake);
            let of_real = of_real.join().unwrap_or_else(|_| bail!("a panic"));
            anyhow::Ok((of_real?, of_fake?))
        })?;
        let mut differences = Vec::new();
        let mut compare = |name: &str, real: &[Value], fake: &[Value]| {
            for (real, fake) in real.iter().zip(fake) {
                if real != fake {
                    differences.push(format!("{name}:\n  real {real}\n  fake {fake}"));
                }
            }
            if real.len() != fake.len() {
                differences.push(format!("{name}: {} and {} answers", real.len(), fake.len()));
            }
        };
        for ((name, real), (_, fake)) in of_real.iter().zip(&of_fake) {
            compare(name, real, fake);
        }

        let old = before_forgetting(&real)?;
        // The store forgets, and the caches before it start anew.
        cluster.compact()?;
        cluster.restart_api()?;
        forgotten(&mut real, &old)?;
        let old = before_forgetting(&fake)?;
        fake_api.compact();
        forgotten(&mut fake, &old)?;
        compare("what is forgotten", &real.seen, &fake.seen);
        ensure!(
            differences.is_empty(),
            "{} differences\n{}",
            differences.len(),
            differences.join("\n")
        );
        Ok(())
    })
    .unwrap();
}
