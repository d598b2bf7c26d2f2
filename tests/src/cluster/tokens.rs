//! Tokens of ServiceAccounts: mounted as a kubelet mounts them, and such as no API server would make.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Cluster, answer_of, keys};
use crate::namespace::run;

/// A folder of tokens, by pod, that changes as a projected volume does: the files are links into a folder, and which
/// one that is changes at once.
#[derive(Debug)]
pub struct TokenVolume {
    folder: PathBuf,
    tokens: BTreeMap<String, String>,
    turn: u32,
}

impl TokenVolume {
    /// An empty volume at a folder that does not exist yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(folder: &Path) -> Result<Self> {
        std::fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            tokens: BTreeMap::new(),
            turn: 0,
        })
    }

    /// The token of a pod, if it was given one.
    pub fn get(&self, pod: &str) -> Option<&str> {
        self.tokens.get(pod).map(String::as_str)
    }

    /// Gives a pod a token, instead of the one it has.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn put(&mut self, pod: &str, token: &str) -> Result<()> {
        self.tokens.insert(pod.to_owned(), token.to_owned());
        let old = format!("..{}", self.turn);
        self.turn += 1;
        let new = format!("..{}", self.turn);
        std::fs::create_dir(self.folder.join(&new))?;
        for (pod, token) in &self.tokens {
            std::fs::write(self.folder.join(&new).join(pod), token)?;
        }
        let place = |link: &str, target: &str| -> Result<()> {
            let made = self.folder.join(format!("{link}.new"));
            std::os::unix::fs::symlink(target, &made)?;
            std::fs::rename(made, self.folder.join(link))?;
            Ok(())
        };
        place("..data", &new)?;
        if !self.folder.join(pod).exists() {
            place(pod, &format!("..data/{pod}"))?;
        }
        if self.turn > 1 {
            std::fs::remove_dir_all(self.folder.join(old))?;
        }
        Ok(())
    }
}

/// By what a forged token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The key of the cluster.
    Cluster,
    /// A key nobody knows.
    Stranger,
    /// The public key of the cluster, taken for a secret: HS256 in the place of RS256.
    PublicKey,
    /// Nobody.
    Nobody,
}

impl Cluster {
    /// Makes a token like one the API server made, with other claims, signed by somebody.
    ///
    /// # Errors
    /// When `like` is no token, or openssl fails.
    pub fn forge(
        &self,
        like: &str,
        change: impl FnOnce(&mut Value),
        signer: Signer,
    ) -> Result<String> {
        let mut parts = like.split('.');
        let mut part = || -> Result<Value> {
            let text = parts.next().context("no token")?;
            Ok(serde_json::from_slice(&decode(text)?)?)
        };
        let (mut header, mut claims) = (part()?, part()?);
        change(&mut claims);
        header["alg"] = match signer {
            Signer::Cluster | Signer::Stranger => "RS256".into(),
            Signer::PublicKey => "HS256".into(),
            Signer::Nobody => "none".into(),
        };
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = match signer {
            Signer::Nobody => String::new(),
            Signer::Cluster => self.sign(&["-sign", keys::ACCOUNT_KEY], &signed)?,
            Signer::Stranger => {
                let key = "stranger.key";
                if !self.work.join(key).exists() {
                    let mut made = Command::new("openssl");
                    run(made
                        .args(["genrsa", "-out", key, "2048"])
                        .current_dir(&self.work))?;
                }
                self.sign(&["-sign", key], &signed)?
            }
            Signer::PublicKey => {
                let key = std::fs::read(self.work.join(keys::ACCOUNT_PUBLIC))?;
                let mut hex = String::from("hexkey:");
                for byte in key {
                    write!(hex, "{byte:02x}")?;
                }
                self.sign(&["-mac", "HMAC", "-macopt", &hex], &signed)?
            }
        };
        Ok(format!("{signed}.{signature}"))
    }

    /// Signs a text by openssl; returns the signature as tokens have it.
    fn sign(&self, how: &[&str], text: &str) -> Result<String> {
        let script = "openssl dgst -sha256 -binary \"$@\" | openssl base64 -A";
        let mut command = Command::new("bash");
        command
            .args(["-o", "pipefail", "-ec", script, "sign"])
            .args(how)
            .current_dir(&self.work);
        let signature = answer_of(&mut command, text)?;
        ensure!(signature.len() > 40, "openssl signed nothing");
        Ok(signature
            .replace('+', "-")
            .replace('/', "_")
            .replace('=', ""))
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 as tokens have it: for URLs, without padding.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for digit in 0..=group.len() {
            let shift = 18 - 6 * digit;
            let index = usize::try_from((bits >> shift) & 63).unwrap_or_default();
            text.push(char::from(DIGITS[index]));
        }
    }
    text
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let (mut bytes, mut bits, mut have) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit);
        let value = value.with_context(|| format!("no token: {text}"))?;
        bits = (bits << 6) | u32::try_from(value)?;
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push(u8::try_from((bits >> have) & 255)?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{TokenVolume, decode, encode};

    #[test]
    fn bytes_go_through_base64_and_back() {
        assert_eq!(encode(b"{\"a\":1}"), "eyJhIjoxfQ");
        for text in ["", "a", "ab", "abc", "\u{fb}\u{fc}\u{ff}??>>"] {
            assert_eq!(decode(&encode(text.as_bytes())).unwrap(), text.as_bytes());
        }
        assert!(decode("a=").is_err());
    }

    #[test]
    fn a_volume_changes_all_at_once() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("tokens");
        let mut volume = TokenVolume::make(&folder).unwrap();
        volume.put("web-1", "first").unwrap();
        volume.put("web-2", "second").unwrap();
        volume.put("web-1", "third").unwrap();
        let read = |pod: &str| std::fs::read_to_string(folder.join(pod)).unwrap();
        assert_eq!(read("web-1"), "third");
        assert_eq!(read("web-2"), "second");
        assert_eq!(volume.get("web-1"), Some("third"));
        let hidden = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(hidden, 4, "two pods, the data and the link to it");
    }
}
