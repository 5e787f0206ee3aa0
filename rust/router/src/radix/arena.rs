//! Storage of the nodes.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use crate::ids::PageId;

/// Index of a node. It is used again after the node is gone, so only a locked node may be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// Some consecutive pages that all have the same history.
#[derive(Debug)]
pub(super) struct Node {
    /// The node of the pages before these. None for a root.
    pub parent: Option<NodeId>,
    /// Tokens of the pages, `page_size` each.
    pub tokens: Vec<u32>,
    /// The pages, in order of position. Never empty but in a root.
    pub pages: Vec<PageId>,
    /// What may follow, by the tokens of its first page.
    pub children: BTreeMap<Box<[u32]>, NodeId>,
    /// Locked paths that go through or end in this node.
    pub locks: u32,
    /// When a path through this node was last unlocked.
    pub last_used: u64,
    /// The salt of the tree that the node is in.
    pub salt: u128,
}

impl Node {
    pub fn root(salt: u128, tick: u64) -> Self {
        let (tokens, pages, children) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { parent: None, tokens, pages, children, locks: 0, last_used: tick, salt }
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
            self.nodes[id.0 as usize] = Some(node);
            return id;
        }
        self.nodes.push(Some(node));
        NodeId(self.nodes.len() as u32 - 1)
    }

    pub fn remove(&mut self, id: NodeId) -> Node {
        let node = self.nodes[id.0 as usize].take().expect("a node is removed once");
        self.vacant.push(id);
        node
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((NodeId(index as u32), node.as_ref()?)))
    }
}

impl Index<NodeId> for Arena {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        self.nodes[id.0 as usize].as_ref().expect("only live nodes are named")
    }
}

impl IndexMut<NodeId> for Arena {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.0 as usize].as_mut().expect("only live nodes are named")
    }
}
