//! Owns the generated protobuf code: messages, gRPC stubs, proto3 JSON. Nothing here is written by hand
//! but the module tree and the time; the sources are `proto/**/*.proto`.

mod timestamp;

pub use timestamp::Timestamp;

/// The admin API as operators' tools see it.
pub mod admin {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::too_many_lines,
        clippy::wildcard_enum_match_arm,
        clippy::use_self,
        clippy::or_fun_call,
        reason = "generated from proto/postroad/admin/v1; the comments are in the .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("postroad.admin.v1");
        include!(concat!(env!("OUT_DIR"), "/postroad.admin.v1.serde.rs"));
    }

    /// The encoded `FileDescriptorSet` of the admin API with its imports, for server reflection.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/admin_descriptor.bin"));
}

/// What the journal keeps on disk.
pub mod journal {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        reason = "generated from proto/postroad/journal/v1; the comments are in the .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("postroad.journal.v1");
    }
}

/// What the spool keeps on disk.
pub mod spool {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        reason = "generated from proto/postroad/spool/v1; the comments are in the .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("postroad.spool.v1");
    }
}

/// What a log and a snapshot hold of the routing table.
pub mod routing {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        reason = "generated from proto/postroad/routing/v1; the comments are in the .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("postroad.routing.v1");
    }
}

/// What nodes agree on, in a node's log and between nodes.
pub mod cluster {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::too_many_lines,
        clippy::wildcard_enum_match_arm,
        clippy::use_self,
        clippy::or_fun_call,
        reason = "generated from proto/postroad/cluster/v1; the comments are in the .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("postroad.cluster.v1");
    }
}
