//! Who a node is and which cluster it means. Names come checked from the configuration; ids are drawn by the caller.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A node as one disk knows it: 64 random bits, drawn when the folder `raft/` is made. A wiped disk is a new node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NodeId(pub u64);

impl From<u64> for NodeId {
    fn from(bits: u64) -> Self {
        Self(bits)
    }
}

/// A cluster: 128 random bits, drawn by its founder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u128);

/// A node as the operator knows it: `node.name`. Ordered by octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

/// Node ids by name; a name has one id at a time.
pub type Members = BTreeMap<NodeName, NodeId>;

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
