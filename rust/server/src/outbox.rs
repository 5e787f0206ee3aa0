use lightllm_wire::encode_into;
use serde::Serialize;

use crate::clients::ClientId;

/// Frames for HTTP processes that have not left yet, one after the other in one buffer.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Whose frame it is, and where it ends.
    ends: Vec<(ClientId, usize)>,
}

impl Outbox {
    pub fn push<T: Serialize>(&mut self, client: ClientId, message: &T) {
        self.push_with(client, |frame| encode_into(frame, message));
    }

    /// A frame that `write` puts after what is in the buffer.
    pub fn push_with(&mut self, client: ClientId, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push((client, self.bytes.len()));
    }

    /// All frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = (ClientId, &[u8])> {
        let mut begin = 0;
        self.ends.iter().map(move |(client, end)| {
            let frame = &self.bytes[begin..*end];
            begin = *end;
            (*client, frame)
        })
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
