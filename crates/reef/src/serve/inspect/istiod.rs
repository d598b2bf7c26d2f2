//! Pages about the whole mesh in istiod's shapes, for tools and habits made for it. Pure functions of a snapshot and the
//! connected streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_mesh::{
    Address, Endpoint, ExportTo, Health, MeshSnapshot, MetaValue, NetworkGateway, Protocol,
    Registry, Resolution, Service, TlsMode, identify,
};
use reef_server::provider::Watched;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::serve::registry::Stream;

/// istiod's id of a connection: the node id and a number.
pub(super) fn connection_id(stream: &Stream) -> String {
    format!("{}-{}", stream.node.id, stream.number)
}

/// `/debug/adsz`: who is connected, and what each subscribes to.
///
/// `names` is what the streams told of their subscriptions; one that left meanwhile has told nothing.
pub(super) fn adsz(
    snapshot: &MeshSnapshot,
    streams: &[Arc<Stream>],
    names: &BTreeMap<u64, Vec<Watched>>,
) -> Value {
    let clients = streams.iter().map(|stream| {
        let watched = names.get(&stream.number).map_or(&[][..], Vec::as_slice);
        client(snapshot, stream, watched)
    });
    json!({ "totalClients": streams.len(), "clients": clients.collect::<Vec<_>>() })
}

/// `/debug/connections`: the same in short.
pub(super) fn connections(streams: &[Arc<Stream>]) -> Value {
    let clients = streams.iter().map(|stream| Value::Object(short(stream)));
    json!({ "totalClients": streams.len(), "clients": clients.collect::<Vec<_>>() })
}

fn short(stream: &Stream) -> Map<String, Value> {
    let address = stream.address.map(|address| address.to_string());
    let mut shown = Map::new();
    shown.insert("connectionId".to_owned(), connection_id(stream).into());
    shown.insert(
        "connectedAt".to_owned(),
        clock::rfc3339(stream.since).into(),
    );
    shown.insert("address".to_owned(), address.unwrap_or_default().into());
    shown
}

fn client(snapshot: &MeshSnapshot, stream: &Stream, watched: &[Watched]) -> Value {
    let mut shown = short(stream);
    let identity = identify(snapshot, &stream.node);
    let metadata: Map<String, Value> = stream
        .node
        .metadata
        .iter()
        .map(|(key, value)| (key.to_owned(), plain(value)))
        .collect();
    let place = &identity.locality;
    shown.insert("labels".to_owned(), json!(identity.labels));
    shown.insert("metadata".to_owned(), metadata.into());
    shown.insert(
        "locality".to_owned(),
        json!({ "region": &*place.region, "zone": &*place.zone, "subzone": &*place.subzone }),
    );
    let watches: BTreeMap<&str, Vec<&str>> = watched
        .iter()
        .map(|one| {
            let wildcard = one.wildcard.then_some("*");
            let names = one.names.iter().map(|name| &**name);
            (
                one.ty.type_url(),
                wildcard.into_iter().chain(names).collect(),
            )
        })
        .collect();
    let counts: BTreeMap<&str, usize> = stream
        .types()
        .into_iter()
        .map(|(ty, state)| (ty.type_url(), state.subscribed.1))
        .collect();
    shown.insert("watches".to_owned(), json!(watches));
    shown.insert("watchCounts".to_owned(), json!(counts));
    shown.into()
}

/// `/debug/registryz`: istiod's model of each service.
pub(super) fn registryz(snapshot: &MeshSnapshot) -> Value {
    snapshot
        .services()
        .map(|service| model(snapshot, service))
        .collect()
}

fn model(snapshot: &MeshSnapshot, service: &Service) -> Value {
    let cluster = &service.object.cluster;
    let vips: Vec<String> = service.addresses.iter().map(shown).collect();
    let exported: BTreeMap<String, Value> = match &service.export_to {
        ExportTo::Public => BTreeMap::from([("*".to_owned(), json!({}))]),
        ExportTo::Namespaces(list) => list
            .iter()
            .map(|namespace| (namespace.to_string(), json!({})))
            .collect(),
        ExportTo::Nobody => BTreeMap::from([("~".to_owned(), json!({}))]),
    };
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| {
            json!({ "name": &*port.name, "port": port.number, "protocol": protocol(port.protocol) })
        })
        .collect();
    json!({
        "Attributes": {
            "ServiceRegistry": provider(service.registry),
            "Name": &*service.name,
            "Namespace": service.key.namespace.as_str(),
            "Labels": &service.labels,
            "ExportTo": exported,
            "LabelSelectors": &service.selector,
            "Aliases": service.aliases.iter().map(|alias| alias.as_str()).collect::<Vec<_>>(),
        },
        "hostname": service.key.hostname.as_str(),
        "ports": ports,
        "clusterVIPs": { "Addresses": { cluster.as_str(): vips } },
        "defaultAddress": vips.first().map_or("0.0.0.0", String::as_str),
        "Resolution": resolution(service.resolution),
        "MeshExternal": service.mesh_external,
        "creationTime": service.created.and_then(created),
        "serviceAccounts": service.service_accounts.iter().map(|account| &**account).collect::<Vec<_>>(),
        "endpoints": snapshot.endpoints(&service.key).map_or(0, |all| all.len()),
    })
}

/// `/debug/networkz`: the gateways of all networks, sorted by address as proxies get them.
pub(super) fn networkz(snapshot: &MeshSnapshot) -> Value {
    let gateways = snapshot.network_gateways();
    let mut all: Vec<(&NetworkGateway, &str)> = gateways
        .iter()
        .flat_map(|(network, list)| list.iter().map(move |one| (one, &**network)))
        .collect();
    all.sort_unstable();
    let shown = all.iter().map(|(gateway, network)| {
        json!({
            "Network": network,
            "Cluster": gateway.cluster.as_str(),
            "Addr": &*gateway.address,
            "Port": gateway.port,
            "HBONEPort": 0,
            "ServiceAccount": { "Namespace": "", "Name": "" },
        })
    });
    shown.collect()
}

/// `/debug/endpointShardz`: endpoints by host name, namespace, and shard (`provider/cluster`).
pub(super) fn endpoint_shardz(snapshot: &MeshSnapshot) -> Value {
    let mut hosts: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for service in snapshot.services() {
        let Some(endpoints) = snapshot.endpoints(&service.key) else {
            continue;
        };
        let mut shards: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (port, list) in &endpoints.ports {
            for endpoint in list {
                let shard = format!(
                    "{}/{}",
                    provider(service.registry),
                    endpoint.workload.cluster
                );
                shards
                    .entry(shard)
                    .or_default()
                    .push(istio_endpoint(port, endpoint));
            }
        }
        let accounts: BTreeMap<&str, Value> = service
            .service_accounts
            .iter()
            .map(|account| (&**account, json!({})))
            .collect();
        hosts
            .entry(service.key.hostname.as_str())
            .or_default()
            .insert(
                service.key.namespace.as_str(),
                json!({ "Shards": shards, "ServiceAccounts": accounts }),
            );
    }
    json!(hosts)
}

fn istio_endpoint(port: &str, endpoint: &Endpoint) -> Value {
    let workload = &endpoint.workload;
    json!({
        "Addresses": [shown(&endpoint.address)],
        "ServicePortName": port,
        "EndpointPort": endpoint.port,
        "ServiceAccount": &*workload.service_account,
        "Network": &*endpoint.network,
        "Locality": { "Label": endpoint.locality.to_string(), "ClusterID": workload.cluster.as_str() },
        "LbWeight": endpoint.weight,
        "TLSMode": match endpoint.tls_mode {
            TlsMode::Disabled => "disabled",
            TlsMode::Istio => "istio",
        },
        "Namespace": workload.namespace.as_str(),
        "WorkloadName": &*workload.name,
        "NodeName": endpoint.node.as_deref().unwrap_or_default(),
        "Labels": &workload.labels,
        // istiod's numbers.
        "HealthStatus": match endpoint.health {
            Health::Healthy => 1,
            Health::Unhealthy => 2,
            Health::Draining => 3,
        },
    })
}

/// A protocol in istiod's spelling.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Http2 => "HTTP2",
        Protocol::Grpc => "GRPC",
        Protocol::GrpcWeb => "GRPC-Web",
        Protocol::HttpProxy => "HTTP_PROXY",
        Protocol::Tcp => "TCP",
        Protocol::Https => "HTTPS",
        Protocol::Tls => "TLS",
        Protocol::Mongo => "Mongo",
        Protocol::Redis => "Redis",
        Protocol::MySql => "MySQL",
        Protocol::Udp => "UDP",
        Protocol::Auto => "UnsupportedProtocol",
    }
}

fn provider(registry: Registry) -> &'static str {
    match registry {
        Registry::Kubernetes => "Kubernetes",
        Registry::ServiceEntry => "External",
    }
}

/// istiod shows this enumeration by its numbers.
fn resolution(resolution: Resolution) -> u8 {
    match resolution {
        Resolution::ClientSide => 0,
        Resolution::Dns => 1,
        Resolution::Passthrough => 2,
        Resolution::DnsRoundRobin => 3,
        Resolution::Alias => 4,
        Resolution::DynamicDns => 5,
    }
}

fn created(seconds: i64) -> Option<String> {
    let since = std::time::Duration::from_secs(u64::try_from(seconds).ok()?);
    Some(clock::rfc3339(std::time::UNIX_EPOCH + since))
}

fn shown(address: &Address) -> String {
    match address {
        Address::Ip(ip) => ip.to_string(),
        Address::Cidr(range) => range.to_string(),
        Address::Host(name) => name.to_string(),
        Address::Pipe(path) => format!("unix://{path}"),
    }
}

fn plain(value: &MetaValue) -> Value {
    match value {
        MetaValue::Null => Value::Null,
        MetaValue::Bool(value) => (*value).into(),
        MetaValue::Number(number) => json!(number),
        MetaValue::String(text) => (**text).into(),
        MetaValue::List(list) => list.iter().map(plain).collect(),
        MetaValue::Map(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.to_owned(), plain(value)))
                .collect(),
        ),
    }
}
