//! `reef inject`: the sidecar added to manifests, as the webhook adds it to pods.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use reef_config::parse;
use reef_inject::{Authority, Settings, template};
use serde::Deserialize;
use serde_json::Value;

/// Settings of `reef inject`.
#[derive(Debug, Clone, Args)]
pub struct InjectArgs {
    /// File of YAML or JSON objects, `-` for standard input; may be given several times.
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: InjectSettings,
}

/// Where the settings of injection come from, for the command and for the webhook.
#[derive(Debug, Clone, Default, Args)]
pub struct InjectSettings {
    /// File with the settings of injection in its section `injection`, YAML; what it leaves out has its default.
    #[arg(long, env = "REEF_INJECT_CONFIG", value_name = "FILE")]
    pub inject_config: Option<PathBuf>,
    /// File with the certificate of the authority proxies are to trust, PEM; it is written into every pod.
    #[arg(long, env = "REEF_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Image of the init containers.
    #[arg(long, env = "REEF_INIT_IMAGE", value_name = "IMAGE")]
    pub init_image: Option<String>,
    /// Image of the proxy.
    #[arg(long, env = "REEF_PROXY_IMAGE", value_name = "IMAGE")]
    pub proxy_image: Option<String>,
    /// Where proxies find Reef, `host:port`.
    #[arg(long, env = "REEF_DISCOVERY", value_name = "HOST:PORT")]
    pub discovery: Option<String>,
}

/// Reef's own settings, of which other sections are for others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    injection: Settings,
}

impl InjectSettings {
    /// Reads the file and lays the options over it.
    ///
    /// # Errors
    /// If a file cannot be read, or no pods can be made of the settings.
    pub fn load(&self) -> anyhow::Result<Settings> {
        let mut settings = match &self.inject_config {
            None => Settings::default(),
            Some(path) => {
                let file = path.display();
                let text = read(path)?;
                let file: ConfigFile =
                    serde_saphyr::from_str(&text).with_context(|| format!("{file}"))?;
                file.injection
            }
        };
        if let Some(path) = &self.ca_file {
            settings.authority = Authority::Inline(read(path)?);
        }
        let over = |setting: &mut String, option: &Option<String>| {
            if let Some(option) = option {
                setting.clone_from(option);
            }
        };
        over(&mut settings.init_image, &self.init_image);
        over(&mut settings.proxy_image, &self.proxy_image);
        over(&mut settings.discovery_address, &self.discovery);
        settings.check()?;
        Ok(settings)
    }
}

/// Prints the objects of the files with a sidecar in every pod template that wants one. What was done, and what a
/// person should know of it, goes to `notes`.
///
/// # Errors
/// If a file cannot be read, or a pod can neither be injected nor be left alone. Nothing is printed then.
pub fn run(args: &InjectArgs, out: &mut dyn Write, notes: &mut dyn Write) -> anyhow::Result<()> {
    let settings = args.settings.load()?;
    let mut texts = Vec::new();
    for path in &args.files {
        let file = path.display();
        let text = read(path)?;
        let documents = parse::documents(text.as_bytes())
            .map_err(|problem| anyhow::anyhow!("{file}: {problem}"))?;
        for document in documents {
            let place = || format!("{file}:{}", document.line);
            let mut object = object(document.text).with_context(place)?;
            let told = template::inject_object(&mut object, &args.namespace, &settings)
                .with_context(place)?;
            let is_changed = told.iter().any(|told| told.skip.is_none());
            for told in told {
                match told.skip {
                    None => writeln!(notes, "{}: injected", told.object)?,
                    Some(skip) => writeln!(notes, "{}: left alone: {skip}", told.object)?,
                }
                for warning in told.warnings {
                    writeln!(notes, "{}: {warning}", told.object)?;
                }
            }
            texts.push(if is_changed {
                serde_saphyr::to_string(&object)?
            } else {
                document.text.to_owned()
            });
        }
    }
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            writeln!(out, "---")?;
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Reads one document; numbers that are none elsewhere, such as `0755` or `1_000`, stay text.
fn object(text: &str) -> anyhow::Result<Value> {
    if text.trim_start().starts_with('{')
        && let Ok(object) = serde_json::from_str(text)
    {
        return Ok(object);
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    Ok(serde_saphyr::from_str_with_options(text, options)?)
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let limit = u64::try_from(parse::MAX_INPUT_BYTES)?;
        std::io::stdin().take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() > parse::MAX_INPUT_BYTES {
            bail!("standard input has more than {limit} bytes");
        }
        return String::from_utf8(bytes).context("standard input is not UTF-8");
    }
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

#[cfg(test)]
mod tests;
