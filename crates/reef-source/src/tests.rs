//! Tests of following directories: what is told after each change of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reef_config::{
    Change, ChangeBatch, ClusterId, Kind, MeshConfig, MeshNetworks, Object, ObjectKey, Problem,
    Severity, Spec,
};
use tempfile::TempDir;

use crate::tree::{Look, Tree};
use crate::{Contents, FileOptions, FileSource, MemorySource, Source, SourceMetrics, load};

mod following;

/// A directory with a tree over it, and what a receiver of the changes holds.
struct Fixture {
    dir: TempDir,
    tree: Tree,
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    problems: BTreeMap<Arc<str>, Vec<Problem>>,
    mesh: Option<Arc<MeshConfig>>,
    networks: Option<Arc<MeshNetworks>>,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("config");
        fs::create_dir(&root).unwrap();
        let tree = Tree::new(
            vec![root],
            Some(dir.path().join("mesh.yaml")),
            ClusterId::default(),
            SourceMetrics::default(),
        );
        Self {
            dir,
            tree,
            objects: BTreeMap::new(),
            problems: BTreeMap::new(),
            mesh: None,
            networks: None,
        }
    }

    fn without_mesh_file() -> Self {
        let mut fixture = Self::new();
        fixture.tree = Tree::new(
            vec![fixture.path("")],
            None,
            ClusterId::default(),
            SourceMetrics::default(),
        );
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        let root = self.dir.path().join("config");
        if name.is_empty() {
            root
        } else {
            root.join(name)
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Renamed into place, as editors do; the new inode makes the stamp differ however coarse time is.
        let scratch = path.with_extension("scratch");
        fs::write(&scratch, text).unwrap();
        fs::rename(scratch, path).unwrap();
    }

    /// Refreshes, takes the changes over and returns those of objects in short form.
    fn refresh(&mut self) -> Vec<String> {
        let changes = self.tree.refresh(&Look::at_once(), &mut |_| {});
        self.take(changes)
    }

    fn refresh_paths(&mut self, names: &[&str]) -> Vec<String> {
        let paths: BTreeSet<_> = names.iter().map(|name| self.path(name)).collect();
        let look = Look {
            touched: Some(&paths),
            ..Look::at_once()
        };
        let changes = self
            .tree
            .refresh(&look, &mut |dir| panic!("walked {}", dir.display()));
        self.take(changes)
    }

    fn take(&mut self, changes: Vec<Change>) -> Vec<String> {
        let mut told = Vec::new();
        for change in changes {
            match change {
                Change::Apply(object) => {
                    told.push(format!("+{}", object.key.name));
                    self.objects.insert(object.key.clone(), object);
                }
                Change::Delete(key) => {
                    told.push(format!("-{}", key.name));
                    assert!(self.objects.remove(&key).is_some(), "{key} was not there");
                }
                Change::MeshConfig(config) => self.mesh = Some(config),
                Change::MeshNetworks(networks) => self.networks = Some(networks),
                Change::Problems { source, problems } => {
                    self.problems.insert(source, problems);
                }
            }
        }
        told
    }

    fn errors(&self) -> Vec<String> {
        self.problems
            .values()
            .flatten()
            .filter(|p| p.code != "mesh")
            .map(ToString::to_string)
            .collect()
    }

    /// The first host of a ServiceEntry, to tell versions apart.
    fn host(&self, name: &str) -> String {
        let key = ObjectKey::new(Kind::ServiceEntry, "default", name);
        let Spec::ServiceEntry(spec) = &self.objects[&key].spec else {
            panic!()
        };
        spec.hosts[0].to_string()
    }
}

fn entry(name: &str, host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: {name}\nspec:\n  hosts:\n  - {host}\n"
    )
}

fn two(first: &str, second: &str) -> String {
    format!("{first}---\n{second}")
}

#[test]
fn nested_folders_and_all_extensions_are_read() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &entry("a", "a.io"));
    f.write("x/y/b.yml", &entry("b", "b.io"));
    f.write("x/c.json", r#"{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"c"},"spec":{"hosts":["c.io"]}}"#);
    f.write("x/d.txt", &entry("d", "d.io"));
    f.write("x/.e.yaml", &entry("e", "e.io"));
    assert_eq!(f.refresh(), ["+a", "+b", "+c"]);
    assert_eq!(f.refresh(), [""; 0]);
    assert_eq!(f.errors(), [""; 0]);
}

#[test]
fn only_changed_documents_are_told() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &two(&entry("a", "a.io"), &entry("b", "b.io")));
    f.refresh();
    f.write(
        "a.yaml",
        &two(
            &format!("# moved\n{}", entry("a", "a.io")),
            &entry("b", "b2.io"),
        ),
    );
    assert_eq!(f.refresh(), ["+b"]);
    assert_eq!(f.host("b"), "b2.io");
    f.write("a.yaml", &entry("b", "b2.io"));
    assert_eq!(f.refresh(), ["-a"]);
}

#[test]
fn touched_paths_are_looked_at_without_a_walk() {
    let mut f = Fixture::without_mesh_file();
    f.write("x/a.yaml", &entry("a", "a.io"));
    f.write("x/b.yaml", &entry("b", "b.io"));
    f.refresh();
    f.write("x/a.yaml", &entry("a", "a2.io"));
    f.write("x/new.yaml", &entry("n", "n.io"));
    fs::remove_file(f.path("x/b.yaml")).unwrap();
    assert_eq!(
        f.refresh_paths(&["x/a.yaml", "x/b.yaml", "x/new.yaml"]),
        ["+a", "-b", "+n"]
    );
}

#[test]
fn file_renamed_within_a_batch_deletes_nothing() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &entry("a", "a.io"));
    f.write("z.yaml", &entry("z", "z.io"));
    f.refresh();
    fs::rename(f.path("a.yaml"), f.path("b.yaml")).unwrap();
    assert_eq!(f.refresh(), ["+a"]);
}

#[test]
fn first_path_wins_a_duplicate_and_the_other_takes_over() {
    let mut f = Fixture::without_mesh_file();
    f.write("b.yaml", &entry("a", "from-b.io"));
    f.write("c.yaml", &entry("a", "from-c.io"));
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.host("a"), "from-b.io");
    let told = f.errors();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("c.yaml:1: ServiceEntry default/a: ")
            && told[0].contains("b.yaml has the same"),
        "{told:?}"
    );

    f.write("a.yaml", &entry("a", "from-a.io"));
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.host("a"), "from-a.io");
    assert_eq!(f.errors().len(), 2);

    fs::remove_file(f.path("a.yaml")).unwrap();
    f.write("c.yaml", &entry("a", "from-c2.io"));
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.host("a"), "from-b.io");

    fs::remove_file(f.path("b.yaml")).unwrap();
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.host("a"), "from-c2.io");
    assert_eq!(f.errors(), [""; 0]);
}

#[test]
fn same_key_twice_in_one_file_first_document_wins() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &two(&entry("a", "one.io"), &entry("a", "two.io")));
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.host("a"), "one.io");
    let told = f.errors();
    assert!(
        told[0].contains("a.yaml:9: ") && told[0].contains("earlier document"),
        "{told:?}"
    );
    f.write(
        "a.yaml",
        &two(&entry("a", "one.io"), &entry("a", "three.io")),
    );
    f.refresh();
    assert_eq!(f.host("a"), "one.io");
    f.write("a.yaml", &entry("a", "three.io"));
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.host("a"), "three.io");
}

#[test]
fn bad_document_keeps_its_last_good_version_and_hurts_only_itself() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &two(&entry("a", "a.io"), &entry("b", "b.io")));
    f.refresh();
    // Decodable identity, bad field.
    f.write("a.yaml", &two(&entry("a", "'*'"), &entry("b", "b2.io")));
    assert_eq!(f.refresh(), ["+b"]);
    assert_eq!(f.host("a"), "a.io");
    let told = f.errors();
    assert!(
        told[0].contains("a.yaml:1: ServiceEntry default/a: spec.hosts[0]: "),
        "{told:?}"
    );
    assert!(
        told[0].contains("last good version") && told[0].contains("restart drops it"),
        "{told:?}"
    );
    // No identity at all: whatever the document was, it stays.
    f.write("a.yaml", &two("metadata: {{{\n", &entry("b", "b3.io")));
    assert_eq!(f.refresh(), ["+b"]);
    assert_eq!(f.host("a"), "a.io");
    // Still held after an edit elsewhere in the file.
    f.write("a.yaml", &two("metadata: {{{\n", &entry("b", "b4.io")));
    assert_eq!(f.refresh(), ["+b"]);
    assert_eq!(f.objects.len(), 2);
    f.write("a.yaml", &two(&entry("a", "a5.io"), &entry("b", "b4.io")));
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.errors(), [""; 0]);
}

#[test]
fn object_that_was_never_good_is_not_there() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &entry("a", "'*'"));
    f.write("b.yaml", &entry("b", "b.io"));
    assert_eq!(f.refresh(), ["+b"]);
    assert!(!f.errors()[0].contains("last good"));
}

#[test]
fn unusable_file_keeps_all_it_stood_for() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &entry("a", "a.io"));
    f.write("b.yaml", &entry("b", "b.io"));
    f.refresh();
    for bytes in [&b"a: \xff\xfe"[..], b"a: \0"] {
        fs::write(f.path("a.yaml"), bytes).unwrap();
        assert_eq!(f.refresh(), [""; 0]);
        assert!(f.errors()[0].contains("a.yaml:1: "), "{:?}", f.errors());
    }
    f.write("a.yaml", &entry("a", "a2.io"));
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.errors(), [""; 0]);
}

#[test]
fn file_beyond_the_limit_is_refused_without_reading_it() {
    let mut f = Fixture::without_mesh_file();
    f.write("b.yaml", &entry("b", "b.io"));
    fs::File::create(f.path("huge.yaml"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    assert_eq!(f.refresh(), ["+b"]);
    assert!(
        f.errors()[0].contains("huge.yaml:1: ") && f.errors()[0].contains("limit"),
        "{:?}",
        f.errors()
    );
}

#[test]
fn directory_that_vanishes_or_is_emptied_freezes() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &entry("a", "a.io"));
    f.write("b.yaml", &entry("b", "b.io"));
    f.refresh();
    let away = f.dir.path().join("away");
    fs::rename(f.path(""), &away).unwrap();
    assert_eq!(f.refresh(), [""; 0]);
    assert!(
        f.errors()[0].contains("last state stays"),
        "{:?}",
        f.errors()
    );
    fs::create_dir(f.path("")).unwrap();
    assert_eq!(f.refresh(), [""; 0]);
    assert!(
        f.errors()[0].contains("no file is left"),
        "{:?}",
        f.errors()
    );
    fs::write(f.path("a.yaml"), "").unwrap();
    fs::write(f.path("b.yaml"), "").unwrap();
    assert_eq!(f.refresh(), [""; 0]);
    fs::remove_dir_all(f.path("")).unwrap();
    fs::rename(&away, f.path("")).unwrap();
    f.write("b.yaml", &entry("b", "b2.io"));
    assert_eq!(f.refresh(), ["+b"]);
    assert_eq!(f.errors(), [""; 0]);
}

#[test]
fn directory_that_never_was_is_a_problem() {
    let mut tree = Tree::new(
        vec![PathBuf::from("/nonexistent/reef")],
        None,
        ClusterId::default(),
        SourceMetrics::default(),
    );
    let changes = tree.refresh(&Look::at_once(), &mut |_| {});
    assert!(
        matches!(&changes[..], [Change::Problems { problems, .. }] if problems[0].severity == Severity::Error)
    );
}

#[test]
fn config_map_mount_swaps_at_once() {
    use std::os::unix::fs::symlink;
    let mut f = Fixture::without_mesh_file();
    f.write("..v1/a.yaml", &entry("a", "a1.io"));
    f.write("..v2/a.yaml", &entry("a", "a2.io"));
    symlink("..v1", f.path("..data")).unwrap();
    symlink("..data/a.yaml", f.path("a.yaml")).unwrap();
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.host("a"), "a1.io");
    assert_eq!(f.errors(), [""; 0]);
    symlink("..v2", f.path("..data_tmp")).unwrap();
    fs::rename(f.path("..data_tmp"), f.path("..data")).unwrap();
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.host("a"), "a2.io");
}

#[test]
fn links_in_circles_and_pipes_are_passed_over() {
    use std::os::unix::fs::symlink;
    let mut f = Fixture::without_mesh_file();
    f.write("x/a.yaml", &entry("a", "a.io"));
    symlink("..", f.path("x/up")).unwrap();
    symlink("self.yaml", f.path("self.yaml")).unwrap();
    let pipe = f.path("pipe.yaml");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(f.refresh(), ["+a"]);
    assert_eq!(f.objects.len(), 1);
}

#[test]
fn mesh_config_file_is_followed_and_keeps_the_last_good() {
    let mut f = Fixture::new();
    let file = f.dir.path().join("mesh.yaml");
    fs::write(&file, "rootNamespace: one\n").unwrap();
    f.write("cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    rootNamespace: map\n");
    f.refresh();
    assert_eq!(f.mesh.as_ref().unwrap().root_namespace, "one");
    fs::write(&file, "rootNamespace: [\n").unwrap();
    f.refresh();
    assert_eq!(f.mesh.as_ref().unwrap().root_namespace, "one");
    assert!(
        f.errors().iter().any(|e| e.contains("mesh.yaml:")),
        "{:?}",
        f.errors()
    );
    fs::write(&file, "rootNamespace: two-two\n").unwrap();
    f.refresh();
    assert_eq!(f.mesh.as_ref().unwrap().root_namespace, "two-two");
}

#[test]
fn mesh_config_map_is_read_where_there_is_no_file() {
    let mut f = Fixture::without_mesh_file();
    f.write("cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    rootNamespace: map\n    accessLogFile: /dev/stdout\n");
    f.write(
        "other.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {mesh: 'x: ['}\n",
    );
    f.refresh();
    assert_eq!(f.mesh.as_ref().unwrap().root_namespace, "map");
    assert!(f.objects.keys().all(|key| &*key.name == "istio"));
    f.write("keep.yaml", &entry("k", "k.io"));
    fs::remove_file(f.path("cm.yaml")).unwrap();
    f.refresh();
    assert_eq!(f.mesh.as_ref().unwrap().root_namespace, "istio-system");
}

#[test]
fn networks_are_beside_the_mesh_configuration() {
    let mut f = Fixture::without_mesh_file();
    let map = |mesh: &str, networks: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  \
             mesh: |\n    {mesh}\n  meshNetworks: |\n    {networks}\n"
        )
    };
    let network = |f: &Fixture| -> Vec<String> {
        let networks = f.networks.as_ref().unwrap();
        networks
            .networks
            .keys()
            .map(|name| name.to_string())
            .collect()
    };
    let gateway = "networks: {far: {gateways: [{address: 192.0.2.1, port: 15443}]}}";
    f.write("cm.yaml", &map("rootNamespace: root", gateway));
    f.refresh();
    assert_eq!(network(&f), ["far"]);
    assert_eq!(f.mesh.as_ref().unwrap().root_namespace, "root");
    // Each part that is wrong stays as it was, and the other does not wait for it.
    f.write(
        "cm.yaml",
        &map("rootNamespace: other", &gateway.replace("15443", "0")),
    );
    f.refresh();
    assert_eq!(network(&f), ["far"]);
    assert_eq!(f.mesh.as_ref().unwrap().root_namespace, "other");
    let told = f.problems.values().flatten().next().unwrap();
    assert_eq!(
        told.field,
        "data.meshNetworks.networks.far.gateways[0].port"
    );
    assert!(told.reason.contains("stay in effect"), "{}", told.reason);
    f.write("cm.yaml", &map("x: [", &gateway.replace("far", "near")));
    f.refresh();
    assert_eq!(network(&f), ["near"]);
    fs::remove_file(f.path("cm.yaml")).unwrap();
    f.write("keep.yaml", &entry("k", "k.io"));
    f.refresh();
    assert_eq!(network(&f), [""; 0]);
}

#[test]
fn load_reads_once() {
    let f = Fixture::new();
    f.write("a.yaml", &two(&entry("a", "a.io"), "x: 1\n"));
    let Contents {
        objects,
        mesh_config: mesh,
        problems,
        ..
    } = load(&[f.path("")], None);
    assert_eq!(objects.len(), 1);
    assert!(mesh.is_none());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].origin.as_ref().unwrap().line, 9);
}

#[test]
fn objects_belong_to_the_cluster_they_are_read_for() {
    let mut f = Fixture::without_mesh_file();
    f.tree = Tree::new(
        vec![f.path("")],
        None,
        ClusterId::from("east"),
        SourceMetrics::default(),
    );
    f.write("a.yaml", &entry("a", "a.io"));
    f.write("b.yaml", &entry("a", "a.io"));
    f.refresh();
    assert!(f.objects.keys().all(|key| key.cluster == "east"));
    assert_eq!(f.objects.len(), 1);
    fs::remove_file(f.path("a.yaml")).unwrap();
    assert_eq!(f.refresh(), ["+a"]);
    assert!(f.objects.keys().all(|key| key.cluster == "east"));
}

#[test]
fn scratch_files_of_editors_do_not_cause_a_walk() {
    let mut f = Fixture::without_mesh_file();
    f.write("a.yaml", &entry("a", "a.io"));
    f.refresh();
    f.write("a.yaml", &entry("a", "a2.io"));
    let noise = ["a.yaml~", "4913", ".a.yaml.swp", "a.scratch", "a.yaml"];
    assert_eq!(f.refresh_paths(&noise), ["+a"]);
}
