//! The gRPC admin client. What it does is in the library: `postroad::ctl`.

use std::process::ExitCode;

use postroad::ctl::{self, Terminal};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("postroadctl: {error}");
            return ExitCode::FAILURE;
        }
    };
    let terminal = Terminal { out: &mut std::io::stdout(), err: &mut std::io::stderr() };
    ExitCode::from(runtime.block_on(ctl::run(std::env::args_os(), terminal)))
}
