//! The `reef` program: reads its command line and hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    reef::run(std::env::args_os())
}
