//! Objects from YAML and batches of them.

use std::sync::Arc;

use reef_config::parse;
use reef_config::{Change, ChangeBatch, Hostname, MeshConfig, Namespace, Object, Origin};
use reef_mesh::{MeshIndex, ServiceKey};

/// Parses documents separated by `---`; any error fails the test.
pub(crate) fn objects(yaml: &str) -> Vec<Arc<Object>> {
    let origin = Origin {
        path: Arc::from("test.yaml"),
        line: 1,
    };
    yaml.split("\n---")
        .filter(|text| !text.trim().is_empty())
        .flat_map(|text| {
            let parsed = parse::object(text, &origin);
            assert!(!parsed.has_errors(), "{text}\n{parsed:?}");
            parsed.objects
        })
        .map(Arc::new)
        .collect()
}

pub(crate) fn batch(objects: impl IntoIterator<Item = Arc<Object>>) -> ChangeBatch {
    ChangeBatch {
        changes: objects.into_iter().map(Change::Apply).collect(),
        synced: true,
    }
}

pub(crate) fn apply(index: &mut MeshIndex, yaml: &str) -> Option<reef_mesh::ChangeReport> {
    index.apply(batch(objects(yaml))).map(|(_, report)| report)
}

pub(crate) fn delete(index: &mut MeshIndex, yaml: &str) -> Option<reef_mesh::ChangeReport> {
    let changes = objects(yaml)
        .iter()
        .map(|object| Change::Delete(object.key.clone()))
        .collect();
    index
        .apply(ChangeBatch {
            changes,
            synced: true,
        })
        .map(|(_, report)| report)
}

pub(crate) fn key(host: &str, namespace: &str) -> ServiceKey {
    ServiceKey {
        hostname: Hostname::from(host),
        namespace: Namespace::from(namespace),
    }
}

pub(crate) fn mesh_config(change: impl FnOnce(&mut MeshConfig)) -> ChangeBatch {
    let mut config = MeshConfig::default();
    change(&mut config);
    ChangeBatch {
        changes: vec![Change::MeshConfig(Arc::new(config))],
        synced: true,
    }
}
