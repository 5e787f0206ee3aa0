//! Storage of the nodes.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

use super::policy::Usage;
use crate::ids::PageId;

/// Names a node. It is used again after the node is gone, so only a locked node may be remembered, or one with its
/// version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(NonZeroU32);

impl NodeId {
    fn of(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        Self(number.expect("a node has a page, and pages have 32-bit names"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    #[cfg(test)]
    pub(super) fn first() -> Self {
        Self::of(0)
    }

    /// The name as a number.
    pub(super) fn number(self) -> u32 {
        self.0.get()
    }
}

/// Some consecutive pages that all have the same history.
#[derive(Debug)]
pub(super) struct Node {
    /// The node of the pages before these. None for a root.
    pub parent: Option<NodeId>,
    /// The next node in the same bucket of the index.
    pub next: Option<NodeId>,
    /// Hash of the tokens of the first page.
    pub hash: u64,
    /// Tokens of the pages, `page_size` each.
    pub tokens: Vec<u32>,
    /// The pages, in order of position. Never empty but in a root.
    pub pages: Vec<PageId>,
    /// Pages before the first of these.
    pub depth: u32,
    /// Nodes that follow.
    pub children: u32,
    /// Locked paths that go through or end in this node.
    pub locks: u32,
    /// Pages were cut off the end since the version began.
    pub was_cut: bool,
    /// Changes when the node no longer begins with the pages that it began with, and stays when it only grows.
    pub version: u64,
    /// How it was used. All its pages were used alike.
    pub usage: Usage,
    /// The salt of the tree, in its root.
    pub salt: Option<Box<u128>>,
}

impl Node {
    /// The first node of a tree. It has no pages.
    pub fn root(salt: u128) -> Self {
        Self {
            parent: None,
            next: None,
            hash: 0,
            tokens: Vec::new(),
            pages: Vec::new(),
            depth: 0,
            children: 0,
            locks: 0,
            was_cut: false,
            version: 0,
            usage: Usage::default(),
            salt: Some(Box::new(salt)),
        }
    }

    /// Pages from the root to the end of this node.
    pub fn end(&self) -> usize {
        self.depth as usize + self.pages.len()
    }
}

/// Nodes by index; indices of removed nodes are used again.
#[derive(Debug, Default)]
pub(super) struct Arena {
    nodes: Vec<Option<Node>>,
    vacant: Vec<NodeId>,
}

impl Arena {
    pub fn insert(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.vacant.pop() {
            self.nodes[id.index()] = Some(node);
            return id;
        }
        self.nodes.push(Some(node));
        NodeId::of(self.nodes.len() - 1)
    }

    pub fn remove(&mut self, id: NodeId) -> Node {
        let node = self.nodes[id.index()].take().expect("a node is removed once");
        self.vacant.push(id);
        node
    }

    /// The node of that name, if there is one now.
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes[id.index()].as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((NodeId::of(index), node.as_ref()?)))
    }

    /// The nodes from `id` up to the root.
    pub fn upwards(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &Node)> {
        std::iter::successors(Some((id, &self[id])), |(_, node)| node.parent.map(|parent| (parent, &self[parent])))
    }
}

impl Index<NodeId> for Arena {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        self.get(id).expect("only live nodes are named")
    }
}

impl IndexMut<NodeId> for Arena {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.index()].as_mut().expect("only live nodes are named")
    }
}
