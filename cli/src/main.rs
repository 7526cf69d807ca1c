//! The binary `vocalbridge`. Everything is in the library beside it.

fn main() -> std::process::ExitCode {
    cli::command::main()
}
