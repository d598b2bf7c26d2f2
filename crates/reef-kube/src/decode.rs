//! One object of the API server: [`Raw`] bytes → [`Item`].
//!
//! Kubernetes' own kinds are read by one pass of serde into the slim types of `reef-config`, because there are tens of
//! thousands of them and most of what they say is about other things; JSON and protobuf are read into the same types.
//! Whatever does not fit, and every kind of Istio's, goes the way of a file: a tree, typed with the path of each error,
//! so that one object that is wrong is one `Problem`.

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

use crate::encoding::{self, Raw};
use crate::proto::{self, schema};

/// Annotations that only say how an object was written; the first holds all of it a second time.
const NOT_KEPT: &str = "kubectl.kubernetes.io/";

/// More annotations than room is made for at once.
const MANY: usize = 64;

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
    /// It is no object with a name, so the stream it came on is not to be trusted.
    pub(crate) fn object(&self, raw: Raw<'_>) -> Result<Item, String> {
        match self.slim(raw) {
            Some(item) => Ok(item),
            None => self.tree(raw),
        }
    }

    /// Name and version of an object, for one that is gone.
    ///
    /// # Errors
    /// As [`Decoder::object`].
    pub(crate) fn head(&self, raw: Raw<'_>) -> Result<(Id, u64), String> {
        let head: Head = raw.read(&schema::OBJECT)?;
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
    fn slim(&self, raw: Raw<'_>) -> Option<Item> {
        match self.kind {
            Kind::Namespace => self.slim_as(raw, |slim: Bare| {
                (slim.metadata, Spec::Namespace(Box::default()))
            }),
            Kind::Node => self.slim_as(raw, |slim: Bare| {
                (slim.metadata, Spec::Node(Box::default()))
            }),
            Kind::Pod => self.slim_as(raw, |slim: SlimPod| {
                let mut pod = k8s::Pod {
                    spec: slim.spec,
                    status: slim.status,
                };
                trim(&mut pod);
                (slim.metadata, Spec::Pod(Box::new(pod)))
            }),
            Kind::Service => self.slim_as(raw, |slim: SlimService| {
                let mut service = k8s::Service {
                    spec: slim.spec,
                    status: slim.status,
                };
                trim_service(&mut service);
                (slim.metadata, Spec::Service(Box::new(service)))
            }),
            Kind::EndpointSlice => self.slim_as(raw, |slim: SlimSlice| {
                let slice = k8s::EndpointSlice {
                    address_type: slim.address_type.0,
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
        raw: Raw<'_>,
        split: impl FnOnce(T) -> (Metadata, Spec),
    ) -> Option<Item> {
        let (metadata, spec) = split(raw.read(encoding::message(self.kind)).ok()?);
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
                created: metadata.creation_timestamp.0,
                generation: metadata.generation,
                uid: metadata.uid.0.filter(|_| self.kind == Kind::Pod),
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
    fn tree(&self, raw: Raw<'_>) -> Result<Item, String> {
        let (id, version) = self.head(raw)?;
        let rendered;
        let text = match raw {
            Raw::Json(text) => str::from_utf8(text).map_err(|error| error.to_string())?,
            Raw::Proto(bytes) => match proto::json(encoding::message(self.kind), bytes) {
                Ok(json) => {
                    rendered = json.to_string();
                    &rendered
                }
                Err(error) => {
                    let problem = Problem::error(parse::code::SYNTAX, error.to_string());
                    let problem = problem.at(&self.origin).of(&self.key(&id));
                    let content = Content::Bad(vec![problem]);
                    return Ok(Item {
                        id,
                        version,
                        content,
                    });
                }
            },
        };
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
                match &mut object.spec {
                    Spec::Pod(pod) => trim(pod),
                    Spec::Service(service) => trim_service(service),
                    _ => {}
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

/// Of a pod nobody reads its first address a second time, nor containers that serve no port.
fn trim(pod: &mut k8s::Pod) {
    let status = &mut pod.status;
    if !status.pod_ips.is_empty() {
        status.pod_ip = None;
    }
    let always = Some(k8s::ContainerRestartPolicy::Always);
    retain(&mut pod.spec.containers, |container| {
        !container.ports.is_empty()
    });
    retain(&mut pod.spec.init_containers, |container| {
        !container.ports.is_empty() && container.restart_policy == always
    });
}

/// Of a service nobody reads its first address a second time.
fn trim_service(service: &mut k8s::Service) {
    let spec = &mut service.spec;
    if !spec.cluster_ips.is_empty() {
        spec.cluster_ip = None;
    }
}

fn retain<T>(list: &mut Box<[T]>, keep: impl Fn(&T) -> bool) {
    if !list.iter().all(&keep) {
        let kept = std::mem::take(list).into_iter().filter(keep);
        *list = kept.collect();
    }
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
    creation_timestamp: Created,
    generation: Option<i64>,
    uid: Identity,
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
                let hint = map.size_hint().unwrap_or_default().min(MANY);
                let mut entries = Vec::with_capacity(hint);
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
    address_type: Interned,
    #[serde(default, deserialize_with = "or_empty")]
    endpoints: Box<[k8s::Endpoint]>,
    #[serde(default, deserialize_with = "or_empty")]
    ports: Box<[k8s::EndpointPort]>,
}

/// A list of a Go program, which writes one that was never made as `null`.
fn or_empty<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Box<[T]>, D::Error> {
    let list = Option::<Box<[T]>>::deserialize(deserializer)?;
    Ok(list.unwrap_or_default())
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

/// `metadata.creationTimestamp`, in seconds since the epoch.
#[derive(Default)]
struct Created(Option<i64>);

impl<'de> Deserialize<'de> for Created {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Created;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time")
            }
            fn visit_unit<E>(self) -> Result<Created, E> {
                Ok(Created(None))
            }
            fn visit_i64<E>(self, seconds: i64) -> Result<Created, E> {
                Ok(Created(Some(seconds)))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Created, E> {
                let seconds = parse::timestamp(text);
                let seconds = seconds.ok_or_else(|| E::custom("not a time"))?;
                Ok(Created(Some(seconds)))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// `metadata.uid`; none if it is no UUID.
#[derive(Default)]
struct Identity(Option<Uid>);

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Identity;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }
            fn visit_unit<E>(self) -> Result<Identity, E> {
                Ok(Identity(None))
            }
            fn visit_str<E>(self, text: &str) -> Result<Identity, E> {
                Ok(Identity(Uid::parse(text)))
            }
        }
        deserializer.deserialize_any(Text)
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
