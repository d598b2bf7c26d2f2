//! Words of one machine that must not get into the repository.
//!
//! Where packages come from is a setting of the machine that builds. So nothing here names a host:
//! the hosts are read from this machine's own settings.

use std::path::PathBuf;

/// Hosts everyone uses; naming them tells nothing about a machine.
const PUBLIC: [&str; 9] = [
    "crates.io",
    "static.crates.io",
    "index.crates.io",
    "pypi.org",
    "files.pythonhosted.org",
    "github.com",
    "proxy.golang.org",
    "sum.golang.org",
    "registry.npmjs.org",
];

/// Returns the folder of specifications beside the repository and this machine's registry hosts.
pub(super) fn forbidden_words() -> Vec<String> {
    // Put together at run time, so that this file does not contain the word itself.
    let mut words = vec![["..", "shared"].join("/")];
    let mut settings = String::new();
    for name in ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "GOPROXY"] {
        settings.push_str(&std::env::var(name).unwrap_or_default());
        settings.push('\n');
    }
    for path in setting_files() {
        settings.push_str(&std::fs::read_to_string(path).unwrap_or_default());
        settings.push('\n');
    }
    words.extend(hosts(&settings));
    words.sort();
    words.dedup();
    words
}

fn setting_files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/pip.conf")];
    if let Some(home) = std::env::var_os("HOME").map(PathBuf::from) {
        files.push(home.join(".cargo/config.toml"));
        files.push(home.join(".config/pip/pip.conf"));
        files.push(home.join(".pip/pip.conf"));
        files.push(home.join(".npmrc"));
    }
    files
}

/// Takes the host of every URL in a text, except public and loopback ones.
pub(super) fn hosts(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("://").skip(1) {
        let authority: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || ".-_:@".contains(*c))
            .collect();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        let local = host == "localhost" || host.starts_with("127.");
        if host.contains('.') && !local && !PUBLIC.contains(&host) {
            found.push(host.to_owned());
        }
    }
    found
}
