//! One object of the API server: bytes → [`Item`].
//!
//! Kubernetes' own kinds are read by one pass of serde into the slim types of `reef-config`, because there are tens of
//! thousands of them and most of their text is about other things. Whatever does not fit, and every kind of Istio's,
//! goes the way of a file: a tree, typed with the path of each error, so that one object that is wrong is one
//! `Problem`.

use std::sync::Arc;

use reef_config::labels::Labels;
use reef_config::names::Namespace;
use reef_config::parse::{self, Parsed};
use reef_config::{
    ClusterId, Kind, Object, ObjectKey, ObjectMeta, Origin, Problem, Severity, Spec, Uid, k8s,
    validate,
};
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Annotations that only say how an object was written; the first holds all of it a second time.
const NOT_KEPT: &str = "kubectl.kubernetes.io/";

/// What names an object within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    /// Namespace, as in an `ObjectKey`.
    pub(crate) namespace: Namespace,
    /// Name.
    pub(crate) name: Arc<str>,
}

/// One object as it was told.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its name.
    pub(crate) id: Id,
    /// Its version; 0 if it has none that can be compared.
    pub(crate) version: u64,
    /// What it says.
    pub(crate) content: Content,
}

/// What an object says.
#[derive(Debug)]
pub(crate) enum Content {
    /// It can be used.
    Good(Arc<Object>, Vec<Problem>),
    /// It cannot; its last good version stays.
    Bad(Vec<Problem>),
    /// It is nobody's business: a pod that ended.
    Ignored,
}

/// Reads objects of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    /// The kind.
    kind: Kind,
    /// The cluster they belong to.
    cluster: ClusterId,
    /// Where they were written.
    origin: Origin,
}

impl Decoder {
    pub(crate) fn new(kind: Kind, cluster: ClusterId) -> Self {
        Self {
            kind,
            origin: Origin::cluster(&cluster),
            cluster,
        }
    }

    /// The key of an object.
    pub(crate) fn key(&self, id: &Id) -> ObjectKey {
        ObjectKey {
            cluster: self.cluster.clone(),
            kind: self.kind,
            namespace: id.namespace.clone(),
            name: Arc::clone(&id.name),
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// The bytes are no JSON object with a name, so the stream they came on is not to be trusted.
    pub(crate) fn object(&self, bytes: &[u8]) -> Result<Item, String> {
        match self.slim(bytes) {
            Some(item) => Ok(item),
            None => self.tree(bytes),
        }
    }

    /// Name and version of an object, for one that is gone.
    ///
    /// # Errors
    /// As [`Decoder::object`].
    pub(crate) fn head(&self, bytes: &[u8]) -> Result<(Id, u64), String> {
        let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let Some(name) = head.metadata.name else {
            return Err("an object without a name".to_owned());
        };
        let id = self.id(head.metadata.namespace, name);
        Ok((id, head.metadata.resource_version.0))
    }

    fn id(&self, namespace: Option<Interned>, name: Name) -> Id {
        let name = name.0;
        let namespace = match self.kind {
            Kind::Namespace => Namespace::new(Arc::clone(&name)),
            Kind::Node => Namespace::default(),
            _ => namespace.map_or_else(Namespace::default, |text| Namespace::new(text.0)),
        };
        Id { namespace, name }
    }

    /// The one pass; `None` if anything does not fit.
    fn slim(&self, bytes: &[u8]) -> Option<Item> {
        match self.kind {
            Kind::Namespace => self.slim_as(bytes, |slim: Bare| {
                (slim.metadata, Spec::Namespace(Box::default()))
            }),
            Kind::Node => self.slim_as(bytes, |slim: SlimNode| {
                let node = k8s::Node {
                    spec: slim.spec,
                    status: slim.status,
                };
                (slim.metadata, Spec::Node(Box::new(node)))
            }),
            Kind::Pod => self.slim_as(bytes, |slim: SlimPod| {
                let mut pod = k8s::Pod {
                    spec: slim.spec,
                    status: slim.status,
                };
                trim(&mut pod);
                (slim.metadata, Spec::Pod(Box::new(pod)))
            }),
            Kind::Service => self.slim_as(bytes, |slim: SlimService| {
                let service = k8s::Service {
                    spec: slim.spec,
                    status: slim.status,
                };
                (slim.metadata, Spec::Service(Box::new(service)))
            }),
            Kind::EndpointSlice => self.slim_as(bytes, |slim: SlimSlice| {
                let slice = k8s::EndpointSlice {
                    address_type: slim.address_type,
                    endpoints: slim.endpoints,
                    ports: slim.ports,
                };
                (slim.metadata, Spec::EndpointSlice(Box::new(slice)))
            }),
            _ => None,
        }
    }

    fn slim_as<T: DeserializeOwned>(
        &self,
        bytes: &[u8],
        split: impl FnOnce(T) -> (Metadata, Spec),
    ) -> Option<Item> {
        let (metadata, spec) = split(serde_json::from_slice(bytes).ok()?);
        let created = match metadata.creation_timestamp {
            Some(text) => Some(parse::timestamp(&text)?),
            None => None,
        };
        let id = self.id(metadata.namespace, metadata.name?);
        let version = metadata.resource_version.0;
        if ended(&spec) {
            let content = Content::Ignored;
            return Some(Item {
                id,
                version,
                content,
            });
        }
        let object = Object {
            key: self.key(&id),
            meta: ObjectMeta {
                labels: metadata.labels,
                annotations: metadata.annotations.0,
                created,
                generation: metadata.generation,
                uid: metadata
                    .uid
                    .filter(|_| self.kind == Kind::Pod)
                    .and_then(|uid| Uid::parse(&uid)),
            },
            origin: Some(self.origin.clone()),
            spec,
        };
        let mut problems = Vec::new();
        validate::object(&object, &mut problems);
        for problem in &mut problems {
            problem.object = Some(object.key.clone());
            problem.origin = Some(self.origin.clone());
        }
        let content = if has_error(&problems) {
            Content::Bad(problems)
        } else {
            Content::Good(Arc::new(object), problems)
        };
        Some(Item {
            id,
            version,
            content,
        })
    }

    /// The way of a file.
    fn tree(&self, bytes: &[u8]) -> Result<Item, String> {
        let (id, version) = self.head(bytes)?;
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let Parsed {
            mut objects,
            mut problems,
        } = parse::object_of(self.kind, text, &self.origin);
        let key = self.key(&id);
        for problem in &mut problems {
            problem.object = Some(key.clone());
        }
        let content = match objects.pop() {
            Some(mut object) => {
                object.key = key;
                object.meta.annotations = kept(&object.meta.annotations);
                if let Spec::Pod(pod) = &mut object.spec {
                    trim(pod);
                }
                if ended(&object.spec) {
                    Content::Ignored
                } else {
                    Content::Good(Arc::new(object), problems)
                }
            }
            None => Content::Bad(problems),
        };
        Ok(Item {
            id,
            version,
            content,
        })
    }
}

fn has_error(problems: &[Problem]) -> bool {
    problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
}

/// The annotations somebody may read.
fn kept(annotations: &Labels) -> Labels {
    if annotations
        .iter()
        .all(|(key, _)| !key.starts_with(NOT_KEPT))
    {
        return annotations.clone();
    }
    annotations
        .iter()
        .filter(|(key, _)| !key.starts_with(NOT_KEPT))
        .map(|(key, value)| (Arc::clone(key), Arc::clone(value)))
        .collect()
}

/// Whether it is a pod that serves nothing any more.
fn ended(spec: &Spec) -> bool {
    matches!(spec, Spec::Pod(pod)
        if matches!(pod.status.phase, k8s::PodPhase::Succeeded | k8s::PodPhase::Failed))
}

/// Of a pod's conditions only one is read, and they are many.
fn trim(pod: &mut k8s::Pod) {
    let status = &mut pod.status;
    status
        .conditions
        .retain(|condition| &*condition.condition_type == "Ready");
    status.conditions.shrink_to_fit();
    status.pod_ips.shrink_to_fit();
    pod.spec.containers.shrink_to_fit();
    pod.spec.init_containers.shrink_to_fit();
}

#[derive(Deserialize)]
struct Head {
    metadata: HeadMetadata,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct HeadMetadata {
    name: Option<Name>,
    namespace: Option<Interned>,
    resource_version: ResourceVersion,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<Name>,
    namespace: Option<Interned>,
    resource_version: ResourceVersion,
    creation_timestamp: Option<Box<str>>,
    generation: Option<i64>,
    uid: Option<Box<str>>,
    labels: Labels,
    annotations: Annotations,
}

/// Annotations without those nobody keeps, which are never copied.
#[derive(Default)]
struct Annotations(Labels);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Annotations;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut entries = Vec::new();
                while let Some(Interned(key)) = map.next_key()? {
                    if key.starts_with(NOT_KEPT) {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((key, map.next_value::<Interned>()?.0));
                    }
                }
                Ok(Annotations(entries.into_iter().collect()))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
struct Bare {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct SlimNode {
    metadata: Metadata,
    #[serde(default)]
    spec: k8s::NodeSpec,
    #[serde(default)]
    status: k8s::NodeStatus,
}

#[derive(Deserialize)]
struct SlimPod {
    metadata: Metadata,
    #[serde(default)]
    spec: k8s::PodSpec,
    #[serde(default)]
    status: k8s::PodStatus,
}

#[derive(Deserialize)]
struct SlimService {
    metadata: Metadata,
    #[serde(default)]
    spec: k8s::ServiceSpec,
    #[serde(default)]
    status: k8s::ServiceStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimSlice {
    metadata: Metadata,
    #[serde(default)]
    address_type: Box<str>,
    #[serde(default, deserialize_with = "or_empty")]
    endpoints: Vec<k8s::Endpoint>,
    #[serde(default, deserialize_with = "or_empty")]
    ports: Vec<k8s::EndpointPort>,
}

/// A list of a Go program, which writes one that was never made as `null`.
fn or_empty<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let mut list = Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default();
    list.shrink_to_fit();
    Ok(list)
}

/// A name, which is this object's own.
struct Name(Arc<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Arc::<str>::deserialize(deserializer).map(Self)
    }
}

/// A string many objects share.
struct Interned(Arc<str>);

impl<'de> Deserialize<'de> for Interned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        reef_config::labels::interned(deserializer).map(Self)
    }
}

/// `metadata.resourceVersion`; 0 if it is no number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ResourceVersion(pub(crate) u64);

impl<'de> Deserialize<'de> for ResourceVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ResourceVersion;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<ResourceVersion, E> {
                Ok(ResourceVersion(text.parse().unwrap_or_default()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
