//! Answers in the form for people.

use std::fmt::Write as _;

use serde_json::Value;

/// Problems shown before the rest is counted only.
const SHOWN_PROBLEMS: usize = 20;

/// The page `reef status` prints.
pub(super) fn status(status: &Value, proxies: &Value, problems: &Value) -> String {
    let mut page = String::new();
    let number = |name: &str| status[name].as_u64().unwrap_or_default();
    line(
        &mut page,
        &format!(
            "reef {}   {}   {} services, {} endpoints   {} proxies in {} classes",
            text(&status["version"]),
            if status["ready"] == Value::Bool(true) {
                "ready"
            } else {
                "NOT READY"
            },
            number("services"),
            number("endpoints"),
            number("proxies"),
            number("classes"),
        ),
    );
    for (kind, row) in status["kinds"].as_object().into_iter().flatten() {
        // What is followed as it should be needs no line.
        if matches!(row["state"].as_str(), Some("live" | "not installed")) {
            continue;
        }
        let since = row["staleSeconds"]
            .as_u64()
            .map(|seconds| format!(", old for {seconds} s"))
            .unwrap_or_default();
        line(
            &mut page,
            &format!("  {kind}: {}{since}", text(&row["text"])),
        );
    }
    let none = Vec::new();
    let proxies = proxies.as_array().unwrap_or(&none);
    if !proxies.is_empty() {
        let mut rows = vec![
            [
                "PROXY",
                "SERVICES",
                "CDS",
                "LDS",
                "EDS",
                "RDS",
                "BYTES SENT",
                "CONNECTED",
            ]
            .map(str::to_owned),
        ];
        rows.extend(proxies.iter().map(proxy_row));
        page.push('\n');
        table(&mut page, &rows);
    }
    let problems = problems.as_array().unwrap_or(&none);
    if !problems.is_empty() {
        page.push('\n');
        line(&mut page, &format!("{} problems", problems.len()));
        for problem in problems.iter().take(SHOWN_PROBLEMS) {
            line(&mut page, &format!("  {}", self::problem(problem)));
        }
        if problems.len() > SHOWN_PROBLEMS {
            line(
                &mut page,
                &format!(
                    "  … and {} more: /debug/problems",
                    problems.len() - SHOWN_PROBLEMS
                ),
            );
        }
    }
    page
}

/// One line for one problem: `error a.yaml:3: Service a/b: spec.x: reason`.
pub(super) fn problem(problem: &Value) -> String {
    let mut shown = text(&problem["severity"]).to_owned();
    let mut separator = " ";
    for part in ["origin", "object", "field", "reason"] {
        let part = text(&problem[part]);
        if !part.is_empty() {
            shown.push_str(separator);
            shown.push_str(part);
            separator = ": ";
        }
    }
    shown
}

/// The answer `reef why` prints.
pub(super) fn why(answer: &Value) -> String {
    let mut page = String::new();
    let visible = answer["visible"] == Value::Bool(true);
    line(
        &mut page,
        &format!(
            "{} {} {}",
            text(&answer["proxy"]),
            if visible { "sees" } else { "does not see" },
            text(&answer["service"]),
        ),
    );
    line(&mut page, &format!("  scope: {}", text(&answer["scope"])));
    let none = Vec::new();
    for service in answer["services"].as_array().unwrap_or(&none) {
        line(
            &mut page,
            &format!(
                "  {} (namespace {})",
                text(&service["hostname"]),
                text(&service["namespace"])
            ),
        );
        for reason in service["reasons"].as_array().unwrap_or(&none) {
            line(&mut page, &format!("    because {}", text(reason)));
        }
    }
    for reason in answer["reasons"].as_array().unwrap_or(&none) {
        line(&mut page, &format!("  because {}", text(reason)));
    }
    page
}

fn proxy_row(proxy: &Value) -> [String; 8] {
    let id = text(&proxy["id"]);
    let types = &proxy["types"];
    let sync = |message: &str| {
        let state = &types[format!("type.googleapis.com/envoy.config.{message}")];
        let (sent, acked) = (text(&state["sent"]), text(&state["acked"]));
        if state.get("lastError").is_some() {
            "ERROR".to_owned()
        } else if sent.is_empty() {
            "NOT SENT".to_owned()
        } else if sent == acked {
            "SYNCED".to_owned()
        } else {
            "STALE".to_owned()
        }
    };
    let bytes: u64 = types
        .as_object()
        .into_iter()
        .flat_map(|types| types.values())
        .filter_map(|state| state["bytes"].as_u64())
        .sum();
    [
        id.split('~').nth(2).unwrap_or(id).to_owned(),
        format!("{} of {}", proxy["services"], proxy["mesh_services"]),
        sync("cluster.v3.Cluster"),
        sync("listener.v3.Listener"),
        sync("endpoint.v3.ClusterLoadAssignment"),
        sync("route.v3.RouteConfiguration"),
        bytes.to_string(),
        text(&proxy["connected_at"]).to_owned(),
    ]
}

/// Left-aligned columns, two spaces between them.
fn table<const N: usize>(page: &mut String, rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut shown = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a String cannot fail.
            let _ok = write!(shown, "{cell:width$}  ");
        }
        line(page, shown.trim_end());
    }
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
