//! `cargo xtask protos`: generates `crates/xds-api/src/gen` from the `.proto` files of a published package.
//!
//! The package and the list of directories are in `proto/upstream.toml`. Cargo fetches the package (so
//! its checksum is verified like any dependency's), the vendored protoc parses the files, prost prints
//! Rust. With `--check` nothing is written; a difference from the committed output is an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use serde::Deserialize;

/// Name of the descriptor set among the generated files.
const DESCRIPTORS: &str = "descriptors.bin";

/// `proto/upstream.toml`.
#[derive(Debug, Deserialize)]
struct Upstream {
    package: Package,
    annotations: Directories,
    rust: Directories,
}

/// The published package that carries the files.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    root: String,
    includes: Vec<String>,
}

/// A list of proto directories, relative to an include path.
#[derive(Debug, Deserialize)]
struct Directories {
    directories: BTreeSet<String>,
}

impl Directories {
    /// Whether `file` lies directly in one of the directories.
    fn hold(&self, file: &str) -> bool {
        file.rsplit_once('/')
            .is_some_and(|(directory, _)| self.directories.contains(directory))
    }
}

/// Generates the code, or with `--check` compares it with what is committed.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: cargo xtask protos [--check]"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has no parent folder")?;
    let upstream = fs::read_to_string(root.join("proto/upstream.toml"))
        .context("reading proto/upstream.toml")?;
    let upstream: Upstream = toml::from_str(&upstream).context("parsing proto/upstream.toml")?;
    let generated = generate(&upstream, &root.join("proto"))?;
    let target = root.join("crates/xds-api/src/gen");
    if check {
        compare(&target, &generated)
    } else {
        replace(&target, &generated)
    }
}

/// Returns file name → content of everything that belongs into the target folder; `own` has the files that are no
/// part of the package.
fn generate(upstream: &Upstream, own: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let scratch = tempfile::tempdir()?;
    let protos = fetch(&upstream.package, scratch.path())?.join(&upstream.package.root);
    let mut includes: Vec<PathBuf> = upstream
        .package
        .includes
        .iter()
        .map(|path| protos.join(path))
        .collect();
    includes.push(own.to_owned());
    let descriptors = parse(&includes, &scratch.path().join("all.bin"))?;
    let descriptors = strip(descriptors, &upstream.annotations);

    let output = scratch.path().join("gen");
    fs::create_dir(&output)?;
    print_rust(closure(&descriptors, &upstream.rust)?, &output)?;
    let mut generated = read_folder(&output)?;
    generated.insert(DESCRIPTORS.to_owned(), descriptors.encode_to_vec());
    Ok(generated)
}

/// Fetches the package with cargo and returns the folder of its sources.
fn fetch(package: &Package, scratch: &Path) -> Result<PathBuf> {
    let manifest = scratch.join("Cargo.toml");
    let Package { name, version, .. } = package;
    fs::write(
        &manifest,
        format!(
            "[package]\nname = \"protos\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [lib]\npath = \"lib.rs\"\n[dependencies]\n{name} = {{ version = \"={version}\", default-features = false }}\n"
        ),
    )?;
    fs::write(scratch.join("lib.rs"), "")?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .context("running cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let found = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|candidate| candidate["name"] == name.as_str())
        .and_then(|found| found["manifest_path"].as_str())
        .with_context(|| format!("cargo metadata does not list {name}"))?;
    Ok(Path::new(found)
        .parent()
        .context("manifest has no folder")?
        .to_owned())
}

/// Runs protoc over every file below `includes`.
fn parse(includes: &[PathBuf], output: &Path) -> Result<FileDescriptorSet> {
    let mut files = BTreeSet::new();
    for include in includes {
        list_protos(include, include, &mut files)?;
    }
    let mut protoc = Command::new(protoc_bin_vendored::protoc_bin_path()?);
    protoc.args(
        includes
            .iter()
            .map(|include| format!("-I{}", include.display())),
    );
    protoc.arg(format!(
        "-I{}",
        protoc_bin_vendored::include_path()?.display()
    ));
    protoc
        .arg("--include_imports")
        .arg("--descriptor_set_out")
        .arg(output)
        .args(&files);
    let run = protoc.output().context("running protoc")?;
    ensure!(
        run.status.success(),
        "protoc: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(FileDescriptorSet::decode(fs::read(output)?.as_slice())?)
}

/// Adds every `.proto` below `folder`, named relative to `include`.
fn list_protos(include: &Path, folder: &Path, files: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            list_protos(include, &path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.insert(path.strip_prefix(include)?.display().to_string());
        }
    }
    Ok(())
}

/// Removes what neither prost nor the JSON view reads: annotation files and the options they define,
/// language options, deprecation marks, JSON names (they follow from the field names).
fn strip(mut descriptors: FileDescriptorSet, annotations: &Directories) -> FileDescriptorSet {
    let gone = |file: &str| annotations.hold(file) || file == "google/protobuf/descriptor.proto";
    descriptors.file.retain(|file| !gone(file.name()));
    for file in &mut descriptors.file {
        file.dependency.retain(|dependency| !gone(dependency));
        file.public_dependency.clear();
        file.weak_dependency.clear();
        file.options = None;
        file.source_code_info = None;
        file.extension.clear();
        file.message_type.iter_mut().for_each(strip_message);
        file.enum_type.iter_mut().for_each(strip_enum);
        for service in &mut file.service {
            service.options = None;
            service
                .method
                .iter_mut()
                .for_each(|method| method.options = None);
        }
    }
    descriptors
}

fn strip_message(message: &mut DescriptorProto) {
    message.options = message
        .options
        .take()
        .filter(|options| options.map_entry())
        .map(|_| prost_types::MessageOptions {
            map_entry: Some(true),
            ..Default::default()
        });
    for field in message.field.iter_mut() {
        field.json_name = None;
        field.options = field
            .options
            .take()
            .and_then(|options| options.packed)
            .map(|packed| prost_types::FieldOptions {
                packed: Some(packed),
                ..Default::default()
            });
    }
    message
        .oneof_decl
        .iter_mut()
        .for_each(|oneof| oneof.options = None);
    message.reserved_range.clear();
    message.reserved_name.clear();
    message.nested_type.iter_mut().for_each(strip_message);
    message.enum_type.iter_mut().for_each(strip_enum);
}

fn strip_enum(enumeration: &mut EnumDescriptorProto) {
    enumeration.options = enumeration
        .options
        .take()
        .and_then(|options| options.allow_alias)
        .map(|alias| prost_types::EnumOptions {
            allow_alias: Some(alias),
            ..Default::default()
        });
    enumeration.reserved_range.clear();
    enumeration.reserved_name.clear();
    enumeration
        .value
        .iter_mut()
        .for_each(|value| value.options = None);
}

/// The files of the wanted directories and everything they import, in the order of `all`.
fn closure(all: &FileDescriptorSet, wanted: &Directories) -> Result<FileDescriptorSet> {
    let by_name: BTreeMap<&str, &FileDescriptorProto> =
        all.file.iter().map(|file| (file.name(), file)).collect();
    let mut open: Vec<&str> = by_name
        .keys()
        .copied()
        .filter(|file| wanted.hold(file))
        .collect();
    for directory in &wanted.directories {
        let prefix = format!("{directory}/");
        ensure!(
            open.iter().any(|file| file.starts_with(&prefix)),
            "no proto file in `{directory}`"
        );
    }
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            let file = by_name
                .get(name)
                .with_context(|| format!("`{name}` is imported but not there"))?;
            open.extend(file.dependency.iter().map(String::as_str));
        }
    }
    Ok(FileDescriptorSet {
        file: all
            .file
            .iter()
            .filter(|file| reached.contains(file.name()))
            .cloned()
            .collect(),
    })
}

/// Prints one Rust file per proto package, and `mod.rs` that nests them as modules.
fn print_rust(descriptors: FileDescriptorSet, output: &Path) -> Result<()> {
    let services = tonic_prost_build::configure()
        .client_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .service_generator();
    prost_build::Config::new()
        .out_dir(output)
        .include_file("mod.rs")
        .btree_map(["."])
        .bytes(["."])
        .disable_comments(["."])
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .extern_path(".google.protobuf.Any", "crate::Any")
        .service_generator(services)
        .compile_fds(descriptors)
        .context("generating Rust")
}

fn read_folder(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry?;
        files.insert(
            entry.file_name().to_string_lossy().into_owned(),
            fs::read(entry.path())?,
        );
    }
    Ok(files)
}

fn compare(target: &Path, generated: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let committed = read_folder(target)?;
    let names: BTreeSet<&String> = committed.keys().chain(generated.keys()).collect();
    let stale: Vec<&str> = names
        .into_iter()
        .filter(|name| committed.get(*name) != generated.get(*name))
        .map(String::as_str)
        .collect();
    ensure!(
        stale.is_empty(),
        "generated files are not current, run `cargo xtask protos`: {}",
        stale.join(", ")
    );
    Ok(())
}

fn replace(target: &Path, generated: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    fs::create_dir_all(target)?;
    for name in read_folder(target)?
        .keys()
        .filter(|name| !generated.contains_key(*name))
    {
        fs::remove_file(target.join(name))?;
    }
    for (name, content) in generated {
        fs::write(target.join(name), content).with_context(|| format!("writing {name}"))?;
    }
    Ok(())
}
