//! Golden files: `golden/<case>/{in.yaml, proxy.yaml}` in, `out/*` compared.
//!
//! A case is a folder. `REEF_GOLDEN_UPDATE=1` rewrites the outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use prost::{Message, Name};
use serde_json::{Value, json};
use xds_api::Any;

use crate::world::{Output, cases, of_case};

#[test]
fn every_case_yields_its_recorded_output() {
    let update = std::env::var_os("REEF_GOLDEN_UPDATE").is_some_and(|value| value == "1");
    let mut wrong = String::new();
    let all = cases();
    assert!(all.len() >= 12, "only {} cases found", all.len());
    for case in all {
        let files = printed(of_case(&case));
        let folder = case.join("out");
        if update {
            std::fs::create_dir_all(&folder).expect("folder is made");
            for (name, text) in &files {
                std::fs::write(folder.join(name), text).expect("file is written");
            }
        }
        check(&folder, &files, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}(REEF_GOLDEN_UPDATE=1 rewrites)");
}

fn check(folder: &Path, files: &BTreeMap<&str, String>, wrong: &mut String) {
    for (name, text) in files {
        let path = folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(recorded) if recorded == *text => {}
            Ok(recorded) => {
                let at = recorded
                    .lines()
                    .zip(text.lines())
                    .take_while(|(a, b)| a == b)
                    .count();
                let (old, new) = (recorded.lines().nth(at), text.lines().nth(at));
                writeln!(
                    wrong,
                    "{}:{}: {old:?} is now {new:?}",
                    path.display(),
                    at + 1
                )
                .expect("writing to text");
            }
            Err(_) => writeln!(wrong, "{}: missing", path.display()).expect("writing to text"),
        }
    }
    let known: BTreeSet<&str> = files.keys().copied().collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        if !known.contains(name.as_str()) {
            writeln!(wrong, "{}: orphan", entry.path().display()).expect("writing to text");
        }
    }
}

fn printed(output: Output) -> BTreeMap<&'static str, String> {
    let problems = output
        .problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect();
    let mut files = BTreeMap::from([
        (
            "clusters.yaml",
            yaml(&output.clusters, |cluster| &cluster.name),
        ),
        (
            "endpoints.yaml",
            yaml(&output.endpoints, |endpoints| &endpoints.cluster_name),
        ),
        (
            "listeners.yaml",
            yaml(&output.listeners, |listener| &listener.name),
        ),
        ("routes.yaml", yaml(&output.routes, |route| &route.name)),
        ("problems.txt", problems),
    ]);
    // Only where an agent asks for it.
    if !output.names.is_empty() {
        files.insert(
            "names.yaml",
            yaml(&output.names, |_| const { &String::new() }),
        );
    }
    files
}

/// Resources as `{resources: […]}`, sorted by name, in canonical proto JSON.
fn yaml<M: Message + Name>(resources: &[M], name: impl Fn(&M) -> &String) -> String {
    let mut sorted: Vec<&M> = resources.iter().collect();
    sorted.sort_by(|a, b| name(a).cmp(name(b)));
    let resources: Vec<Value> = sorted
        .into_iter()
        .map(|resource| reef_xds::json::to_json(&Any::pack(resource)))
        .collect();
    serde_saphyr::to_string(&json!({ "resources": resources })).expect("JSON prints as YAML")
}
