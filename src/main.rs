//! The node. What it does is in the library: `postroad::cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Many small allocations a message, on many threads: mimalloc takes less time over them than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let status = postroad::cli::run(std::env::args_os(), &mut std::io::stdout(), &mut std::io::stderr());
    ExitCode::from(status)
}
