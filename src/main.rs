//! The `barnacle` binary: hands the command line to the library and exits with its code.

fn main() -> std::process::ExitCode {
    barnacle::cli::main(std::env::args_os().skip(1))
}
