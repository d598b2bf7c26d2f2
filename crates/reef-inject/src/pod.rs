//! What injection reads of a pod, straight from its JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Refusal;

type Object = Map<String, Value>;

/// A pod, or the template of one.
#[derive(Debug)]
pub(crate) struct Pod<'a> {
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    pub(crate) annotations: BTreeMap<&'a str, &'a str>,
    /// Whether `metadata` and `metadata.annotations` are there.
    pub(crate) has_metadata: bool,
    pub(crate) has_annotations: bool,
    metadata: Option<&'a Object>,
    pub(crate) spec: &'a Object,
    pub(crate) containers: Vec<Container<'a>>,
    pub(crate) init_containers: Vec<Container<'a>>,
    pub(crate) volumes: Vec<&'a str>,
}

/// A container of the pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Container<'a> {
    pub(crate) name: &'a str,
    pub(crate) json: &'a Object,
}

impl<'a> Pod<'a> {
    pub(crate) fn read(pod: &'a Value) -> Result<Self, Refusal> {
        let pod = pod
            .as_object()
            .ok_or_else(|| malformed("the pod", "an object"))?;
        let metadata = object(pod, "metadata", "metadata")?;
        let spec = object(pod, "spec", "spec")?.ok_or_else(|| malformed("spec", "an object"))?;
        let strings = |field| metadata.map_or(Ok(BTreeMap::new()), |m| strings(m, field));
        let volumes = list(spec, "volumes", "spec.volumes")?
            .iter()
            .map(|volume| named(volume, "spec.volumes").map(|(name, _)| name))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            labels: strings("labels")?,
            annotations: strings("annotations")?,
            has_metadata: metadata.is_some(),
            has_annotations: metadata
                .and_then(|m| m.get("annotations"))
                .is_some_and(Value::is_object),
            metadata,
            spec,
            containers: containers(spec, "containers", "spec.containers")?,
            init_containers: containers(spec, "initContainers", "spec.initContainers")?,
            volumes,
        })
    }

    /// All containers, with the field they are in and their place there.
    pub(crate) fn all_containers(
        &self,
    ) -> impl Iterator<Item = (&'static str, usize, Container<'a>)> {
        let of = |field, list: &[Container<'a>]| -> Vec<_> {
            list.iter()
                .enumerate()
                .map(|(index, container)| (field, index, *container))
                .collect()
        };
        of("initContainers", &self.init_containers)
            .into_iter()
            .chain(of("containers", &self.containers))
    }

    pub(crate) fn is_true(&self, field: &str) -> bool {
        self.spec.get(field) == Some(&Value::Bool(true))
    }

    pub(crate) fn has_list(&self, field: &str) -> bool {
        self.spec.get(field).is_some_and(Value::is_array)
    }

    /// `spec.os.name`.
    pub(crate) fn system(&self) -> Option<&'a str> {
        self.spec.get("os")?.get("name")?.as_str()
    }

    /// Whether a container, or the pod for all of them, runs as this user.
    pub(crate) fn runs_as(&self, user: u32) -> bool {
        let runs_as = |json: &Object| {
            let context = json.get("securityContext");
            let id = context.and_then(|context| context.get("runAsUser"));
            id.and_then(Value::as_u64) == Some(user.into())
        };
        runs_as(self.spec) || self.all_containers().any(|(_, _, it)| runs_as(it.json))
    }

    /// Names of the secrets images are pulled with.
    pub(crate) fn pull_secrets(&self) -> impl Iterator<Item = &'a str> {
        let list = self.spec.get("imagePullSecrets").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|secret| secret.get("name")?.as_str())
    }

    /// The Deployment or the like that the pod belongs to, as far as its owner tells.
    pub(crate) fn workload(&self) -> Option<&'a str> {
        let owners = self.metadata?.get("ownerReferences")?.as_array()?;
        let owner = owners
            .iter()
            .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
        let name = owner.get("name")?.as_str()?;
        let made_by = match owner.get("kind")?.as_str()? {
            // A ReplicaSet's name is its Deployment's and a hash, which its pods have as a label.
            "ReplicaSet" => {
                let hash = self.labels.get("pod-template-hash").copied();
                hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'))
            }
            // A CronJob's Job ends in the minute of its start.
            "Job" => name.rsplit_once('-').and_then(|(job, time)| {
                let is_time = time.len() >= 8 && time.bytes().all(|b| b.is_ascii_digit());
                is_time.then_some(job)
            }),
            _ => None,
        };
        Some(made_by.unwrap_or(name))
    }
}

impl<'a> Container<'a> {
    /// Number of a port that a probe names by number, by text or by its name in this container.
    pub(crate) fn port(&self, port: &Value) -> Option<u16> {
        let number = |value: &Value| u16::try_from(value.as_u64()?).ok();
        let found = match port {
            Value::String(name) => self
                .ports()
                .find(|port| port.get("name").and_then(Value::as_str) == Some(name))
                .and_then(|port| number(port.get("containerPort")?))
                .or_else(|| name.parse().ok()),
            other => number(other),
        };
        found.filter(|port| *port > 0)
    }

    /// What `ports` lists.
    pub(crate) fn ports(&self) -> impl Iterator<Item = &'a Value> {
        let ports = self.json.get("ports").and_then(Value::as_array);
        ports.into_iter().flatten()
    }
}

fn malformed(field: &str, wanted: &'static str) -> Refusal {
    Refusal::Malformed {
        field: field.to_owned(),
        wanted,
    }
}

/// A member that is an object; `null` is absent, as everywhere in the API.
fn object<'a>(of: &'a Object, field: &str, path: &str) -> Result<Option<&'a Object>, Refusal> {
    match of.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(malformed(path, "an object")),
    }
}

fn list<'a>(of: &'a Object, field: &str, path: &str) -> Result<&'a [Value], Refusal> {
    match of.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(malformed(path, "a list")),
    }
}

fn strings<'a>(metadata: &'a Object, field: &str) -> Result<BTreeMap<&'a str, &'a str>, Refusal> {
    let path = format!("metadata.{field}");
    let map = object(metadata, field, &path)?.into_iter().flatten();
    map.map(|(key, value)| match value {
        Value::String(text) => Ok((key.as_str(), text.as_str())),
        _ => Err(malformed(&format!("{path}.{key}"), "a string")),
    })
    .collect()
}

fn named<'a>(item: &'a Value, path: &str) -> Result<(&'a str, &'a Object), Refusal> {
    let object = item.as_object();
    let name = object.and_then(|object| object.get("name")?.as_str());
    match (object, name) {
        (Some(object), Some(name)) => Ok((name, object)),
        _ => Err(malformed(path, "a list of objects with names")),
    }
}

fn containers<'a>(of: &'a Object, field: &str, path: &str) -> Result<Vec<Container<'a>>, Refusal> {
    let items = list(of, field, path)?.iter();
    items
        .map(|item| named(item, path).map(|(name, json)| Container { name, json }))
        .collect()
}
