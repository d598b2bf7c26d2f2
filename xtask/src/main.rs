//! Automation: `cargo xtask <verb>`.

mod protos;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((verb, rest)) if verb == "protos" => protos::run(rest),
        _ => anyhow::bail!("usage: cargo xtask protos [--check]"),
    }
}
