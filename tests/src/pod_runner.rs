//! A very small kubelet: runs what a pod's JSON says, in a network namespace, without images.
//!
//! ```text
//! initContainers in their order: run to the end, or, if they restart always, until the startup probe succeeds
//! containers: started, and kept
//! each: environment and arguments with `$(NAME)`, volumes mounted, user, capabilities, read-only root
//! ```
//!
//! The root of a container is this machine's programs and nothing of its files; the programs of an image
//! are mounted into `/image`, which comes first in the path. Resources, seccomp and liveness are left out. Needs to be
//! root: a pod has several users.

mod root;
mod text;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::call;
use crate::mesh::wait;
use crate::namespace::run;
use crate::net::{PodNet, Running};

/// How long a container may take to become ready, or to end.
const START: Duration = Duration::from_secs(90);

/// What stands in for registries, and for the API server's part in a pod.
#[derive(Debug, Default)]
pub struct Images {
    /// Programs every container finds in its path, by name.
    pub programs: BTreeMap<String, PathBuf>,
    /// Command lines of containers whose image nobody has, by name of the container.
    pub commands: BTreeMap<String, Vec<String>>,
    /// What comes before the arguments of a container without a command, by name of the container.
    pub entrypoints: BTreeMap<String, Vec<String>>,
    /// Variables that every container has, as those that tell of the API server.
    pub environment: BTreeMap<String, String>,
    /// The token a projected volume has.
    pub token: String,
    /// Tokens of other audiences, by these; the API server's own is the empty one.
    pub tokens: BTreeMap<String, String>,
    /// Values of ConfigMaps, by name and key.
    pub config_maps: BTreeMap<(String, String), String>,
    /// Addresses by host name, in the place of the cluster's DNS.
    pub hosts: BTreeMap<String, Ipv4Addr>,
}

/// A pod that runs; ends with the value.
#[derive(Debug)]
pub struct RunningPod {
    ip: Ipv4Addr,
    control: PathBuf,
    running: Vec<(String, Running)>,
    /// Variables of the containers that run.
    environments: BTreeMap<String, BTreeMap<String, String>>,
    _net: PodNet,
}

impl RunningPod {
    /// Starts a pod at an address; returns when its containers run. Its files go to `work`.
    ///
    /// # Errors
    /// When an init container fails, a startup probe does not succeed, or the pod has what this kubelet cannot do.
    pub fn start(pod: &Value, ip: Ipv4Addr, images: &Images, work: &Path) -> Result<Self> {
        let name = text::member(pod, "metadata.name")?;
        let work = work.join(&name);
        let control = work.join("control");
        std::fs::create_dir_all(&control)?;
        let net = PodNet::make(&name, ip)?;
        let mut kubelet = Kubelet {
            pod: pod.clone(),
            images,
            work,
            net: &net,
        };
        kubelet.place(ip);
        kubelet.make_volumes()?;
        let mut running = Vec::new();
        let mut environments = BTreeMap::new();
        for container in text::items(&pod["spec"]["initContainers"]) {
            let name = text::member(container, "name")?;
            if container["restartPolicy"] != "Always" {
                run(&mut kubelet.command(container)?).with_context(|| name.clone())?;
                continue;
            }
            let mut sidecar = kubelet.start(container)?;
            kubelet.await_startup(container, ip, &mut sidecar)?;
            running.push((name, sidecar));
        }
        for container in text::items(&pod["spec"]["containers"]) {
            let name = text::member(container, "name")?;
            environments.insert(name.clone(), kubelet.environment(container)?);
            running.push((name, kubelet.start(container)?));
        }
        Ok(Self {
            ip,
            control: control.join("app.sock"),
            running,
            environments,
            _net: net,
        })
    }

    /// The socket by which its app is made to call others; a container finds its folder at `/control`.
    pub fn control(&self) -> &Path {
        &self.control
    }

    /// Probes a container as the kubelet does: from outside, by what its JSON says. Returns what was answered.
    ///
    /// # Errors
    /// When there is no such probe, or the answer is none or not 200.
    pub fn probe(&self, container: &Value, probe: &str) -> Result<String> {
        let get = &container[probe]["httpGet"];
        let port = port(container, &get["port"]).context("no port")?;
        let path = get["path"].as_str().unwrap_or("/");
        call::page(&format!("{}:{port}", self.ip), path)
    }

    /// Runs a program in a container, as its user and with its variables, which is what `kubectl exec` does; returns what it
    /// printed.
    ///
    /// # Errors
    /// When there is no such container, or the program fails, with what it said.
    pub fn exec(&self, container: &str, line: &[&str]) -> Result<String> {
        // Our process ids are of a namespace of their own, which this machine's /proc does not know.
        let script = "mount -t proc proc /proc\nprocess=/proc/$1\n\
             enter=\"--target $1 --mount --net --root --setuid $(stat -c %u $process) --setgid $(stat -c %g $process)\"\n\
             shift\nexec nsenter $enter -- \"$@\"\n";
        let found = self.running.iter().find(|(name, _)| name == container);
        let (_, running) = found.with_context(|| format!("no container {container}"))?;
        let environment = self.environments.get(container);
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--", "sh", "-ec"])
            .args([script, "sh", &running.pid().to_string()])
            .args(line)
            .env_clear()
            .env("PATH", root::PATH)
            .envs(environment.into_iter().flatten());
        let output = command.output().context("cannot run unshare")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The last lines of a container.
    pub fn tail(&self, container: &str) -> String {
        let found = self.running.iter().find(|(name, _)| name == container);
        found.map(|(_, running)| running.tail()).unwrap_or_default()
    }
}

struct Kubelet<'a> {
    pod: Value,
    images: &'a Images,
    work: PathBuf,
    net: &'a PodNet,
}

impl Kubelet<'_> {
    /// What the API server and the scheduler would have filled in.
    fn place(&mut self, ip: Ipv4Addr) {
        let pod = &mut self.pod;
        pod["status"]["podIP"] = ip.to_string().into();
        pod["status"]["podIPs"] = serde_json::json!([{ "ip": ip.to_string() }]);
        let spec = &mut pod["spec"];
        for (field, value) in [("serviceAccountName", "default"), ("nodeName", "node-a")] {
            if spec[field].is_null() {
                spec[field] = value.into();
            }
        }
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.work.join("volumes").join(name)
    }

    fn make_volumes(&self) -> Result<()> {
        for volume in text::items(&self.pod["spec"]["volumes"]) {
            let folder = self.volume(&text::member(volume, "name")?);
            std::fs::create_dir_all(&folder)?;
            if volume["emptyDir"].is_object() {
                root::for_everybody(&folder)?;
                continue;
            }
            let sources = [volume];
            let sources: Vec<&Value> = match volume["projected"]["sources"].as_array() {
                Some(sources) => sources.iter().collect(),
                None => sources.into(),
            };
            for source in sources {
                self.project(source, &folder)?;
            }
            let mode = ["projected", "configMap", "downwardAPI"].map(|kind| &volume[kind]);
            let mode = mode.iter().find_map(|kind| kind["defaultMode"].as_u64());
            let group = self.pod["spec"]["securityContext"]["fsGroup"].as_u64();
            root::protect(&folder, mode, group)?;
        }
        Ok(())
    }

    /// Writes the files of one source of a volume.
    fn project(&self, source: &Value, folder: &Path) -> Result<()> {
        let token = &source["serviceAccountToken"];
        let map = &source["configMap"];
        let downward = &source["downwardAPI"];
        if token.is_object() {
            let audience = token["audience"].as_str().unwrap_or_default();
            let text = self.images.tokens.get(audience);
            let text = text.unwrap_or(&self.images.token);
            std::fs::write(folder.join(text::member(token, "path")?), text)?;
        } else if map.is_object() {
            let name = text::member(map, "name")?;
            let known = &self.images.config_maps;
            let all = known.iter().filter(|((of, _), _)| *of == name);
            let mut files: Vec<(String, &String)> =
                all.map(|((_, key), value)| (key.clone(), value)).collect();
            if map["items"].is_array() {
                files.clear();
                for item in text::items(&map["items"]) {
                    let key = (name.clone(), text::member(item, "key")?);
                    let value = known.get(&key);
                    let value = value.with_context(|| format!("no ConfigMap {key:?}"))?;
                    files.push((text::member(item, "path")?, value));
                }
            }
            ensure!(!files.is_empty(), "no ConfigMap {name}");
            for (file, value) in files {
                std::fs::write(folder.join(file), value)?;
            }
        } else if downward.is_object() {
            for item in text::items(&downward["items"]) {
                let from = text::member(item, "fieldRef.fieldPath")?;
                let from = text::at(&self.pod, &from);
                let text = match from.as_str() {
                    Some(text) => text.to_owned(),
                    None => text::downward_file(from),
                };
                std::fs::write(folder.join(text::member(item, "path")?), text)?;
            }
        } else {
            bail!("this kubelet has no such volume: {source}");
        }
        Ok(())
    }

    /// The environment of a container, variables replaced.
    fn environment(&self, container: &Value) -> Result<BTreeMap<String, String>> {
        let mut variables = self.images.environment.clone();
        for variable in text::items(&container["env"]) {
            let name = text::member(variable, "name")?;
            let value = match text::member(variable, "valueFrom.fieldRef.fieldPath") {
                Ok(path) if path == "status.podIPs" => {
                    let ips = text::items(&self.pod["status"]["podIPs"]);
                    let ips: Result<Vec<_>> = ips.map(|ip| text::member(ip, "ip")).collect();
                    ips?.join(",")
                }
                Ok(path) => text::member(&self.pod, &path)?,
                Err(_) => {
                    let text = variable["value"].as_str().unwrap_or_default();
                    text::expanded(text, &variables)
                }
            };
            variables.insert(name, value);
        }
        Ok(variables)
    }

    fn command(&self, container: &Value) -> Result<Command> {
        let name = text::member(container, "name")?;
        let environment = self.environment(container)?;
        let words = |field: &str| -> Vec<String> {
            let words = text::items(&container[field]).filter_map(Value::as_str);
            words
                .map(|word| text::expanded(word, &environment))
                .collect()
        };
        let line = match self.images.commands.get(&name) {
            Some(line) => line.clone(),
            None => {
                let mut line = words("command");
                if line.is_empty() {
                    line.extend(
                        self.images
                            .entrypoints
                            .get(&name)
                            .into_iter()
                            .flatten()
                            .cloned(),
                    );
                }
                line.extend(words("args"));
                line
            }
        };
        ensure!(!line.is_empty(), "{name}: nobody knows what its image runs");
        let mut mounts = vec![(self.work.join("control"), "/control".to_owned(), false)];
        for mount in text::items(&container["volumeMounts"]) {
            let volume = self.volume(&text::member(mount, "name")?);
            let at = text::member(mount, "mountPath")?;
            mounts.push((volume, at, mount["readOnly"] == true));
        }
        root::command(&root::Container {
            net: self.net,
            security: &container["securityContext"],
            programs: &self.images.programs,
            hosts: &self.images.hosts,
            mounts: &mounts,
            environment: &environment,
            line: &line,
        })
    }

    fn start(&self, container: &Value) -> Result<Running> {
        let name = text::member(container, "name")?;
        let log = self.work.join(format!("{name}.log"));
        Running::start(&mut self.command(container)?, log)
    }

    fn await_startup(&self, container: &Value, ip: Ipv4Addr, sidecar: &mut Running) -> Result<()> {
        let get = &container["startupProbe"]["httpGet"];
        let (Some(port), Some(path)) = (get["port"].as_u64(), get["path"].as_str()) else {
            return Ok(());
        };
        let address = format!("{ip}:{port}");
        let is_up = wait(START, || {
            sidecar.ended() || call::page(&address, path).is_ok()
        });
        if !is_up || sidecar.ended() {
            bail!(
                "{}: no success of its startup probe:\n{}",
                container["name"],
                sidecar.tail()
            );
        }
        Ok(())
    }
}

/// The number of a port that is one or has a name.
fn port(container: &Value, port: &Value) -> Option<u64> {
    let named = |name: &str| text::items(&container["ports"]).find(|port| port["name"] == name);
    match port.as_str() {
        Some(name) => named(name)?["containerPort"].as_u64(),
        None => port.as_u64(),
    }
}

#[cfg(test)]
mod tests;
