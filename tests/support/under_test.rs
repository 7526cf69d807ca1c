//! The program under test.

fn main() -> std::process::ExitCode {
    cli::command::main()
}
