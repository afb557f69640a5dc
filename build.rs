//! Generates Rust from `proto/` in pure Rust: no `protoc` to install. Writes messages, gRPC stubs, proto3
//! JSON and the descriptor set that server reflection shows.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use protox::prost::Message;

const FILES: [&str; 11] = [
    "postroad/admin/v1/domain_service.proto",
    "postroad/admin/v1/rule_service.proto",
    "postroad/admin/v1/destination_service.proto",
    "postroad/admin/v1/resolve_service.proto",
    "postroad/admin/v1/trace_service.proto",
    "postroad/admin/v1/event_service.proto",
    "postroad/admin/v1/routing_service.proto",
    "postroad/admin/v1/queue_service.proto",
    "postroad/admin/v1/dnsbl_service.proto",
    "postroad/admin/v1/cluster_service.proto",
    "postroad/admin/v1/history_service.proto",
];
const STORED: [&str; 7] = [
    "postroad/journal/v1/entry.proto",
    "postroad/spool/v1/record.proto",
    "postroad/routing/v1/state.proto",
    "postroad/cluster/v1/log.proto",
    "postroad/cluster/v1/snapshot.proto",
    "postroad/cluster/v1/identity.proto",
    "postroad/cluster/v1/cluster_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let stored = compile(&STORED)?;
    // The one service among these is what nodes say to each other.
    tonic_prost_build::configure().compile_fds(stored)?;

    let admin = compile(&FILES)?;
    let encoded = admin.encode_to_vec();
    fs::write(out.join("admin_descriptor.bin"), &encoded)?;
    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .extern_path(".google.protobuf.Timestamp", "crate::proto::Timestamp")
        .compile_fds(admin)?;
    // Default values are written out: a script that reads `.enabled` gets an answer.
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .emit_fields()
        .build(&[".postroad.admin.v1"])?;
    Ok(())
}

fn compile(files: &[&str]) -> Result<protox::prost_reflect::prost_types::FileDescriptorSet, Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    Ok(compiler.file_descriptor_set())
}
