use serde::{Serialize, de::DeserializeOwned};

/// Version of the wire; sent in every hello, and processes of different versions refuse to talk.
pub const PROTOCOL: u32 = 4;

/// Longest frame that is decoded.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// A frame that is too long or does not decode; the receiver counts it and drops it.
#[derive(Debug, thiserror::Error)]
pub enum BadFrame {
    /// Longer than [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} bytes is over the limit of {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// Not msgpack, an unknown tag, or fields of the wrong type.
    #[error("a frame does not decode: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
}

/// One frame.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    encode_into(&mut frame, message);
    frame
}

/// One frame, after what is in `buffer` already.
pub fn encode_into<T: Serialize>(buffer: &mut Vec<u8>, message: &T) {
    rmp_serde::encode::write(buffer, message)
        .expect("messages hold only types that msgpack has, and a Vec takes any length");
}

/// The message in `frame`.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, BadFrame> {
    if frame.len() > MAX_FRAME_BYTES {
        return Err(BadFrame::TooLong(frame.len()));
    }
    Ok(rmp_serde::from_slice(frame)?)
}
