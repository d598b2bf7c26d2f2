//! Debug data over xDS, in the shapes `istioctl` reads: `proxy-status`, `proxy-status POD` and `internal-debug`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use reef_admin::{Inspect, NOT_CONNECTED, Rights, match_proxy};
use reef_config::ClusterId;
use reef_server::debug::{CONFIG_DUMP, Findings, PAGE, Question, SYNCZ};
use reef_server::provider::{Refusal, ResourceView};
use reef_xds::ResourceType;
use serde_json::json;
use xds_api::Any;
use xds_api::envoy::admin::v3::clusters_config_dump::DynamicCluster;
use xds_api::envoy::admin::v3::listeners_config_dump::{DynamicListener, DynamicListenerState};
use xds_api::envoy::admin::v3::routes_config_dump::DynamicRouteConfig;
use xds_api::envoy::admin::v3::{
    ClustersConfigDump, ListenersConfigDump, RoutesConfigDump, UpdateFailureState,
};
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::service::status::v3::client_config::GenericXdsConfig;
use xds_api::envoy::service::status::v3::{ClientConfig, ConfigStatus};
use xds_api::well_known::{Struct, Timestamp, Value, value::Kind};

use super::inspect::{Pages, namespace_of};
use super::registry::{Stream, TypeState};

/// Answers a question of somebody with these rights.
pub(super) async fn answer(
    pages: &Arc<Pages>,
    rights: Rights,
    question: &Question,
) -> Result<Findings, Refusal> {
    let bad = |reason: String| Refusal::BadQuestion { reason };
    let resources = match (question.type_url.as_str(), question.names.as_slice()) {
        (SYNCZ, _) => syncz(pages, &rights),
        (CONFIG_DUMP, [proxy]) => {
            let (pages, proxy) = (Arc::clone(pages), proxy.clone());
            let dumped =
                tokio::task::spawn_blocking(move || config_dump(&pages, &rights, &proxy)).await;
            dumped.map_err(|failed| Refusal::NotReady {
                reason: format!("the dump failed: {failed}"),
            })?
        }
        (PAGE, [page]) => {
            let inspect: Arc<dyn Inspect> = Arc::<Pages>::clone(pages);
            let (_status, body) = reef_admin::ask(&inspect, rights, page).await;
            vec![Any {
                type_url: PAGE.to_owned(),
                value: body,
            }]
        }
        (CONFIG_DUMP | PAGE, names) => {
            return Err(bad(format!(
                "`{}` takes one resource name, not {}",
                question.type_url,
                names.len()
            )));
        }
        (other, _) => return Err(bad(format!("there is no debug data `{other}`"))),
    };
    Ok(Findings {
        resources,
        identifier: identifier(),
    })
}

/// What `istioctl` reads of the control plane that answers; without it the columns read INVALID.
fn identifier() -> String {
    let name = ["POD_NAME", "HOSTNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    json!({
        "Component": "istiod",
        "ID": name.unwrap_or_else(|| "reef".to_owned()),
        "Info": {
            "version": env!("CARGO_PKG_VERSION"),
            "revision": option_env!("REEF_REVISION").unwrap_or("unknown"),
            "golang_version": "",
            "status": "Reef",
            "tag": env!("CARGO_PKG_VERSION"),
        },
    })
    .to_string()
}

/// The streams somebody with these rights may know of, those of one proxy together.
fn visible(pages: &Pages, rights: &Rights) -> BTreeMap<Arc<str>, Vec<Arc<Stream>>> {
    let mut proxies: BTreeMap<Arc<str>, Vec<Arc<Stream>>> = BTreeMap::new();
    for stream in pages.shared.registry.streams() {
        if rights
            .namespace()
            .is_none_or(|namespace| namespace_of(&stream.node) == namespace)
        {
            let id = Arc::clone(&stream.node.id);
            proxies.entry(id).or_default().push(stream);
        }
    }
    proxies
}

fn syncz(pages: &Pages, rights: &Rights) -> Vec<Any> {
    let snapshot = pages.shared.snapshot.load_full();
    let cluster = snapshot
        .as_ref()
        .map(|snapshot| snapshot.settings().cluster.clone())
        .unwrap_or_default();
    visible(pages, rights)
        .values()
        .map(|streams| Any::pack(&client_config(streams, &cluster)))
        .collect()
}

/// One proxy: who it is, and the state of each type.
fn client_config(streams: &[Arc<Stream>], cluster: &ClusterId) -> ClientConfig {
    let node = streams.first().map(|stream| &stream.node);
    let text = |key: &str| node.and_then(|node| node.text(key)).unwrap_or_default();
    let own_cluster = Some(text("CLUSTER_ID")).filter(|own| !own.is_empty());
    let metadata = [
        ("CLUSTER_ID", own_cluster.unwrap_or(cluster)),
        ("NAMESPACE", node.map_or("", |node| namespace_of(node))),
        ("ISTIO_VERSION", text("ISTIO_VERSION")),
    ];
    // By URL, as istiod sorts them.
    let types: BTreeMap<&str, TypeState> = streams
        .iter()
        .flat_map(|stream| stream.types())
        .map(|(ty, state)| (ty.type_url(), state))
        .collect();
    ClientConfig {
        node: node.map(|node| Node {
            id: node.id.to_string(),
            metadata: Some(Struct {
                fields: metadata
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), string(value)))
                    .collect(),
            }),
            ..Node::default()
        }),
        generic_xds_configs: types
            .into_iter()
            .map(|(type_url, state)| config_of(type_url, state))
            .collect(),
        ..ClientConfig::default()
    }
}

fn string(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn config_of(type_url: &str, state: TypeState) -> GenericXdsConfig {
    let status = if state.last_error.is_some() {
        ConfigStatus::Error
    } else if state.sent.is_none() {
        ConfigStatus::NotSent
    } else if state.sent == state.acked {
        ConfigStatus::Synced
    } else {
        ConfigStatus::Stale
    };
    GenericXdsConfig {
        type_url: type_url.to_owned(),
        config_status: status.into(),
        last_updated: state.sent_time.and_then(timestamp),
        error_state: state.last_error.map(|error| UpdateFailureState {
            details: error.text,
            ..UpdateFailureState::default()
        }),
        ..GenericXdsConfig::default()
    }
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp {
        seconds: i64::try_from(since.as_secs()).ok()?,
        nanos: i32::try_from(since.subsec_nanos()).ok()?,
    })
}

/// What one proxy holds, as Envoy's own dump shows it; one resource that says so if it is not connected here.
fn config_dump(pages: &Pages, rights: &Rights, proxy: &str) -> Vec<Any> {
    let proxies = visible(pages, rights);
    let streams = match_proxy(proxies.keys().map(|id| &**id), proxy).and_then(|id| proxies.get(id));
    let Some(stream) = streams.and_then(|streams| streams.first()) else {
        return vec![Any {
            type_url: CONFIG_DUMP.to_owned(),
            value: NOT_CONNECTED.into(),
        }];
    };
    let view = Arc::clone(&stream.view.borrow());
    let clusters = each(&*view, ResourceType::Cluster, |version_info, _, any| {
        DynamicCluster {
            version_info,
            cluster: Some(any),
            ..DynamicCluster::default()
        }
    });
    let listeners = each(&*view, ResourceType::Listener, |version_info, name, any| {
        DynamicListener {
            name: name.to_owned(),
            active_state: Some(DynamicListenerState {
                version_info,
                listener: Some(any),
                ..DynamicListenerState::default()
            }),
            ..DynamicListener::default()
        }
    });
    let routes = each(&*view, ResourceType::Route, |version_info, _, any| {
        DynamicRouteConfig {
            version_info,
            route_config: Some(any),
            ..DynamicRouteConfig::default()
        }
    });
    vec![
        Any::pack(&ClustersConfigDump {
            dynamic_active_clusters: clusters,
            ..ClustersConfigDump::default()
        }),
        Any::pack(&ListenersConfigDump {
            dynamic_listeners: listeners,
            ..ListenersConfigDump::default()
        }),
        Any::pack(&RoutesConfigDump {
            dynamic_route_configs: routes,
            ..RoutesConfigDump::default()
        }),
    ]
}

fn each<T>(
    view: &dyn ResourceView,
    ty: ResourceType,
    make: impl Fn(String, &str, Any) -> T,
) -> Vec<T> {
    let mut made = Vec::new();
    view.for_each(ty, &mut |resource| {
        let version = resource.version().to_string();
        made.push(make(version, resource.name(), resource.any()));
    });
    made
}
