//! Files that change in every way files change, seen by a proxy at the other end.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use reef::serve::{Settings, start};
use reef_testkit::DeltaClient;
use reef_xds::ResourceType;

use crate::mesh::{
    PATIENCE, QUIET, connect, directory, json_until, node, pod, serve, service, settings, sidecar,
    write,
};

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";
const DB: &str = "outbound|80||db.data.svc.cluster.local";

fn web(endpoint: &str) -> String {
    service("shop", "web", "10.96.0.1", &[endpoint])
}

fn clusters(client: &DeltaClient) -> Vec<&str> {
    client
        .names(ResourceType::Cluster)
        .into_iter()
        .filter(|name| name.starts_with("outbound|"))
        .collect()
}

/// The next thing the client is told is that these load assignments differ, and nothing else.
async fn told_endpoints(client: &mut DeltaClient, names: &[&str]) {
    let answer = client.next(PATIENCE).await.unwrap().unwrap();
    assert_eq!(answer.ty, ResourceType::Endpoint, "{answer:?}");
    assert_eq!(answer.names, names);
    assert!(answer.removed.is_empty(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relabelled_pod_gives_its_connected_proxy_another_scope() {
    let narrow = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: narrow, namespace: shop}\n\
                  spec: {workloadSelector: {labels: {tier: front}}, egress: [{hosts: [\"./*\"]}]}\n";
    let dir = directory(&[
        ("web.yaml", web("10.1.0.1")),
        ("db.yaml", service("data", "db", "10.96.0.2", &["10.1.0.2"])),
        ("narrow.yaml", narrow.to_owned()),
        ("pod.yaml", pod("shop", "web-1", "10.9.9.9", "tier: front")),
    ]);
    let server = serve(dir.path()).await;
    let mut client = connect(&server, &node("web-1", "shop")).await;
    let mut other = connect(&server, &node("web-2", "shop")).await;
    assert_eq!(clusters(&client), [WEB]);
    write(
        dir.path(),
        "pod.yaml",
        &pod("shop", "web-1", "10.9.9.9", "tier: back"),
    );
    let answer = client.next(PATIENCE).await.unwrap().unwrap();
    assert_eq!(
        (answer.ty, &answer.names),
        (ResourceType::Cluster, &vec![DB.to_owned()])
    );
    client.settle(QUIET).await.unwrap();
    assert_eq!(clusters(&client), [DB, WEB]);
    assert_eq!(other.settle(QUIET).await.unwrap(), [], "nobody else moved");

    write(
        dir.path(),
        "pod.yaml",
        &pod("shop", "web-1", "10.9.9.9", "tier: front"),
    );
    while clusters(&client) != [WEB] {
        client.next(PATIENCE).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn config_map_mount_is_swapped_at_once() {
    let dir = directory(&[]);
    let version = |name: &str, web: &str, db: &str| {
        let version = dir.path().join(name);
        fs::create_dir(&version).unwrap();
        fs::write(version.join("web.yaml"), self::web(web)).unwrap();
        fs::write(
            version.join("db.yaml"),
            service("data", "db", "10.96.0.2", &[db]),
        )
        .unwrap();
    };
    version("..2026_1", "10.1.0.1", "10.1.0.2");
    symlink("..2026_1", dir.path().join("..data")).unwrap();
    for name in ["web.yaml", "db.yaml"] {
        symlink(format!("..data/{name}"), dir.path().join(name)).unwrap();
    }
    let server = serve(dir.path()).await;
    let mut client = connect(&server, &node("x", "shop")).await;
    for (name, last) in [("..2026_2", "..2026_1"), ("..2026_3", "..2026_2")] {
        let digit = name.trim_start_matches("..2026_");
        version(name, &format!("10.2.0.{digit}"), &format!("10.3.0.{digit}"));
        symlink(name, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        fs::remove_dir_all(dir.path().join(last)).unwrap();
        told_endpoints(&mut client, &[DB, WEB]).await;
        assert_eq!(client.settle(QUIET).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_files_at_once_are_a_few_pushes_and_all_there() {
    let dir = directory(&[("web.yaml", web("10.1.0.1"))]);
    let server = serve(dir.path()).await;
    let mut client = connect(&server, &node("x", "shop")).await;
    for i in 0..1000 {
        let vip = format!("10.97.{}.{}", i / 250, i % 250 + 1);
        write(
            dir.path(),
            &format!("s{i}.yaml"),
            &service("shop", &format!("s{i}"), &vip, &["10.1.0.1"]),
        );
    }
    let mut answers = 0;
    while clusters(&client).len() < 1001 {
        let answer = client.next(PATIENCE).await.unwrap().unwrap();
        answers += usize::from(answer.ty == ResourceType::Cluster);
    }
    assert!(answers < 100, "{answers} pushes for 1,000 files");
    client.settle(QUIET).await.unwrap();
    assert!(
        client
            .names(ResourceType::Endpoint)
            .contains(&"outbound|80||s999.shop.svc.cluster.local")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn file_caught_half_written_takes_nothing_away() {
    let both = |db: &str| {
        format!(
            "{}---\n{}",
            web("10.1.0.1"),
            service("data", "db", "10.96.0.2", &[db])
        )
    };
    let dir = directory(&[("all.yaml", both("10.1.0.2"))]);
    let server = serve(dir.path()).await;
    let mut client = connect(&server, &node("x", "shop")).await;
    let text = both("10.1.0.9");
    let mut file = fs::File::create(dir.path().join("all.yaml")).unwrap();
    file.write_all(web("10.1.0.1").as_bytes()).unwrap();
    assert_eq!(client.settle(QUIET).await.unwrap(), []);
    let written = web("10.1.0.1").len();
    file.write_all(&text.as_bytes()[written..]).unwrap();
    drop(file);
    told_endpoints(&mut client, &[DB]).await;
    assert_eq!(clusters(&client), [DB, WEB]);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_replaced_a_hundred_times_a_second_ends_with_its_last_version() {
    let dir = directory(&[
        ("web.yaml", web("10.1.0.1")),
        ("db.yaml", service("data", "db", "10.96.0.2", &["10.1.0.2"])),
    ]);
    let server = serve(dir.path()).await;
    let mut client = connect(&server, &node("x", "shop")).await;
    let path = dir.path().to_path_buf();
    let writer = tokio::task::spawn_blocking(move || {
        for i in 0..200 {
            write(
                &path,
                "web.yaml",
                &web(&format!("10.4.{}.{}", i / 100, i % 100 + 1)),
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut answers = Vec::new();
    let mut reads = 0;
    while !writer.is_finished() {
        if let Some(answer) = client.next(Duration::from_millis(50)).await.unwrap() {
            answers.push(answer);
        }
        reads += 1;
    }
    writer.await.unwrap();
    answers.extend(client.settle(QUIET).await.unwrap());
    assert!(reads > 0 && !answers.is_empty());
    assert!(
        answers.len() < 150,
        "{} responses for 200 replacements",
        answers.len()
    );
    for answer in &answers {
        assert_eq!(
            (answer.ty, &answer.names[..]),
            (ResourceType::Endpoint, &[WEB.to_owned()][..])
        );
    }
    let dump = json_until(
        &server,
        "/debug/config_dump?proxyID=x.shop&types=eds",
        |dump| dump.to_string().contains("10.4.1.100"),
    )
    .await
    .to_string();
    assert!(!dump.contains("10.4.0."), "an old version stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn change_the_kernel_does_not_tell_is_found_by_comparison() {
    let elsewhere = directory(&[("web.yaml", web("10.1.0.1"))]);
    let dir = directory(&[("sidecar.yaml", sidecar("shop", &["*/*"]))]);
    // Of a link the folder is watched, not what it leads to.
    symlink(
        elsewhere.path().join("web.yaml"),
        dir.path().join("web.yaml"),
    )
    .unwrap();
    let server = start(Settings {
        compare_every: Duration::from_millis(300),
        ..settings(dir.path())
    })
    .await
    .unwrap();
    let mut client = connect(&server, &node("x", "shop")).await;
    write(elsewhere.path(), "web.yaml", &web("10.1.0.7"));
    told_endpoints(&mut client, &[WEB]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_are_told_as_soon_as_the_change_is_pushed() {
    let dir = directory(&[("web.yaml", web("10.1.0.1"))]);
    let server = serve(dir.path()).await;
    let mut client = connect(&server, &node("x", "shop")).await;
    json_until(&server, "/debug/problems", |page| {
        page == &serde_json::json!([])
    })
    .await;
    let bad = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: 7}\n";
    write(dir.path(), "bad.yaml", bad);
    write(dir.path(), "web.yaml", &web("10.1.0.2"));
    told_endpoints(&mut client, &[WEB]).await;
    let asked = tokio::time::Instant::now();
    json_until(&server, "/debug/problems", |page| {
        page[0]["severity"] == "error"
    })
    .await;
    assert!(
        asked.elapsed() < Duration::from_millis(900),
        "{:?}",
        asked.elapsed()
    );
    fs::remove_file(dir.path().join("bad.yaml")).unwrap();
    json_until(&server, "/debug/problems", |page| {
        page == &serde_json::json!([])
    })
    .await;
}
