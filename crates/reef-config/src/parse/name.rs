//! The names of objects.

/// Checks a name or namespace as Kubernetes does: a DNS subdomain.
pub(super) fn check(name: &str) -> Result<(), &'static str> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = |c: char| edge(c) || c == '-' || c == '.';
    if name.is_empty() {
        Err("must not be empty")
    } else if name.len() > 253 {
        Err("must not be longer than 253 bytes")
    } else if !name.chars().all(inside) || !name.starts_with(edge) || !name.ends_with(edge) {
        Err(
            "must consist of lower-case letters, digits, '-' and '.', and begin and end with one of the first two",
        )
    } else {
        Ok(())
    }
}
