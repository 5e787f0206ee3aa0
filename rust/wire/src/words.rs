use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Token ids, pages or slots: on the wire a byte string of little-endian 32-bit words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(pub Vec<u32>);

impl From<Vec<u32>> for Words {
    fn from(words: Vec<u32>) -> Self {
        Self(words)
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Most are the one token of a row: no allocation for those.
        if let [word] = self.0.as_slice() {
            return serializer.serialize_bytes(&word.to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(self.0.len() * 4);
        for word in &self.0 {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordVisitor;
        impl Visitor<'_> for WordVisitor {
            type Value = Words;

            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("bytes of whole 32-bit words")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Words, E> {
                let (words, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(Words(words.iter().map(|word| u32::from_le_bytes(*word)).collect()))
            }
        }
        deserializer.deserialize_bytes(WordVisitor)
    }
}

/// Adds words to a byte string, as they travel.
pub fn pack(bytes: &mut Vec<u8>, words: impl IntoIterator<Item = u32>) {
    bytes.extend(words.into_iter().flat_map(u32::to_le_bytes));
}
