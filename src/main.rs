//! The program: everything lives in the library so that tests can reach it.

fn main() -> std::process::ExitCode {
    dr_plan::cli::main()
}
