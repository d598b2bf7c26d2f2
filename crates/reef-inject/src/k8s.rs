//! The parts of Kubernetes' pod that injection adds, as types.
//!
//! Only what is written is here; what is read of a pod is in `pod`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::quantity::Quantity;

/// Text of an argument or an environment variable, where the kubelet replaces `$(NAME)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Text(String);

impl Text {
    /// Exactly this text: what looks like a variable stays as it is.
    pub(crate) fn literal(text: &str) -> Self {
        Self(text.replace('$', "$$"))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::literal(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::literal(&text)
    }
}

/// `Container`.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) name: &'static str,
    pub(crate) image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_pull_policy: Option<PullPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restart_policy: Option<RestartPolicy>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) command: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) args: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<EnvVar>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<ContainerPort>,
    pub(crate) resources: Resources,
    pub(crate) security_context: SecurityContext,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) startup_probe: Option<Probe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) readiness_probe: Option<Probe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lifecycle: Option<Lifecycle>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volume_mounts: Vec<VolumeMount>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, Serialize)]
pub enum PullPolicy {
    /// Before every start.
    Always,
    /// If the node lacks it.
    IfNotPresent,
    /// Not at all.
    Never,
}

/// Of an init container, `Always` makes a sidecar.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) enum RestartPolicy {
    Always,
}

/// `EnvVar`: a text, or a field of the pod.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvVar {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_from: Option<EnvVarSource>,
}

impl EnvVar {
    pub(crate) fn text(name: &'static str, value: &str) -> Self {
        Self {
            name,
            value: Some(Text::literal(value)),
            value_from: None,
        }
    }

    pub(crate) fn field(name: &'static str, field_path: &'static str) -> Self {
        Self {
            name,
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: FieldRef { field_path },
            }),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvVarSource {
    field_ref: FieldRef,
}

/// `ObjectFieldSelector`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FieldRef {
    pub(crate) field_path: &'static str,
}

/// `ContainerPort`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerPort {
    pub(crate) name: &'static str,
    pub(crate) container_port: u16,
    pub(crate) protocol: &'static str,
}

/// `ResourceRequirements`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What the node must have free, by name: `cpu`, `memory`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the container may use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// `SecurityContext` of a container.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityContext {
    pub(crate) allow_privilege_escalation: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) privileged: bool,
    pub(crate) read_only_root_filesystem: bool,
    pub(crate) run_as_group: u32,
    pub(crate) run_as_non_root: bool,
    pub(crate) run_as_user: u32,
    pub(crate) seccomp_profile: SeccompProfile,
}

/// `Capabilities`; all others are dropped.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Capabilities {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) add: &'static [&'static str],
    pub(crate) drop: [&'static str; 1],
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            add: &[],
            drop: ["ALL"],
        }
    }
}

/// `SeccompProfile`: the container runtime's.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SeccompProfile {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Default for SeccompProfile {
    fn default() -> Self {
        Self {
            kind: "RuntimeDefault",
        }
    }
}

/// `Probe` by HTTP.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probe {
    pub(crate) http_get: HttpGet,
    pub(crate) initial_delay_seconds: u32,
    pub(crate) period_seconds: u32,
    pub(crate) timeout_seconds: u32,
    pub(crate) failure_threshold: u32,
}

/// `HTTPGetAction`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HttpGet {
    pub(crate) path: &'static str,
    pub(crate) port: u16,
}

/// `Lifecycle` with a pause before the end.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lifecycle {
    pub(crate) pre_stop: PreStop,
}

/// `LifecycleHandler`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PreStop {
    pub(crate) sleep: Sleep,
}

/// `SleepAction`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sleep {
    pub(crate) seconds: u64,
}

/// `VolumeMount`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeMount {
    pub(crate) name: &'static str,
    pub(crate) mount_path: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only: bool,
}

/// `Volume`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Volume {
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) source: VolumeSource,
}

/// Where a volume's content comes from.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum VolumeSource {
    /// Nowhere: memory of the pod.
    EmptyDir {
        medium: &'static str,
        #[serde(rename = "sizeLimit")]
        size_limit: &'static str,
    },
    /// Fields of the pod.
    #[serde(rename = "downwardAPI")]
    DownwardApi { items: Vec<DownwardFile> },
    /// A token of the pod's service account.
    Projected { sources: [TokenSource; 1] },
    /// A ConfigMap of the pod's namespace.
    ConfigMap { name: String, items: [KeyToPath; 1] },
}

/// `DownwardAPIVolumeFile`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DownwardFile {
    pub(crate) path: &'static str,
    pub(crate) field_ref: FieldRef,
}

/// `VolumeProjection` of a token.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenSource {
    pub(crate) service_account_token: TokenProjection,
}

/// `ServiceAccountTokenProjection`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenProjection {
    pub(crate) audience: String,
    pub(crate) expiration_seconds: u32,
    pub(crate) path: &'static str,
}

/// `KeyToPath`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct KeyToPath {
    pub(crate) key: String,
    pub(crate) path: &'static str,
}

/// `LocalObjectReference`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LocalObject<'a> {
    pub(crate) name: &'a str,
}
