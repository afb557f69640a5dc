//! Postroad: email routing that you run yourself.
//!
//! The modules stand on floors; a module imports only lower floors, what stands before it on its own, and
//! its own folder (`tests/it/floors.rs` holds them to it):
//!
//! ```text
//! 6  ctl  dev  cli                         the command line of `postroadctl`; the demo world; that of `postroad`
//! 5  node                                  builds, starts and drains every part
//! 4  cluster   admin   http   check        who is a member; gRPC and HTTP faces of a node; the look at what is
//!                                          around it
//! 3  pipeline                              inbound, authenticate, route, rewrite, deliver, settle
//! 2  dns  check_host  blocklist  tls  routing  ledger  aliases  journal  spool
//!                                          owners of state and of the outside
//! 1  private_files  config  clock  telemetry  kept_aside  wal  store  connections
//! 0  mail  smtp  srs  spf  networks  proto  error_text
//!                                          words: pure, no I/O, no async, no clock
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::too_many_lines,
        clippy::wildcard_enum_match_arm,
        reason = "a table of cases is one function"
    )
)]

pub mod admin;
pub mod aliases;
pub mod blocklist;
pub mod check;
pub mod check_host;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod connections;
pub mod ctl;
pub mod dev;
pub mod dns;
pub mod error_text;
pub mod http;
pub mod journal;
pub mod kept_aside;
pub mod ledger;
pub mod mail;
pub mod networks;
pub mod node;
pub mod pipeline;
pub mod private_files;
pub mod proto;
pub mod routing;
pub mod smtp;
pub mod spf;
pub mod spool;
pub mod srs;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod wal;
