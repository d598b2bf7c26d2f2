//! The `reef` program: reads its command line and hands over to the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Less memory than with the C library's: `docs/decisions/006-one-arena-of-jemalloc.md`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    reef::run(std::env::args_os())
}
