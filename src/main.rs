//! The `steadfast` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    steadfast::cli::main()
}
