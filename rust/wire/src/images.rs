use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Most images of one request.
pub const MAX_SPANS: usize = 1024;

/// Token ids from here on stand for positions of images: a half of 32 bits that no vocabulary reaches.
pub const FIRST_SYNTHETIC: u32 = 1 << 31;

/// Consecutive positions of a prompt that stand for one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpan {
    /// First position.
    pub start: u32,
    /// Number of positions.
    pub tokens: u32,
    /// The image's name in the image cache: [`ImageSpan::KEY_BYTES`] bytes.
    pub key: ByteBuf,
    /// Frames, rows and columns, for models whose positions have three axes.
    pub grid: [u32; 3],
    /// Its features are in the image cache. Of an attach: and rows of this attach read them.
    pub ready: bool,
}

impl ImageSpan {
    /// Length of a key.
    pub const KEY_BYTES: usize = 16;
}
