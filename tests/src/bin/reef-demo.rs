//! `cargo xtask demo` becomes this program; see `reef_e2e::demo`.

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    reef_e2e::demo::main(&args)
}
