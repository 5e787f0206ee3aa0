//! Sets of slots, as they are written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Slots, one bit each. Written as hex digits, lowest slots first: the first digit has slots 0 to 3, with slot 0 as
/// its lowest bit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    /// Adds a slot.
    pub fn insert(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot % 64);
    }

    /// Whether a slot is in it.
    pub fn contains(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let words = self.words.iter().enumerate();
        words.flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(index as u32 * 64 + bit)
            })
        })
    }

    /// Number of slots in it.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no slot is in it.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.words.clear();
    }

    /// Writes the digits, without zeros at the end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        for word in &self.words {
            out.extend((0..16).map(|digit| HEX[(word >> (4 * digit) & 15) as usize]));
        }
        while out.len() > begin && out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl<'de> Deserialize<'de> for SlotSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = SlotSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hex digits, the last one not 0")
            }

            fn visit_str<E: Error>(self, digits: &str) -> Result<SlotSet, E> {
                let mut words = vec![0u64; digits.len().div_ceil(16)];
                for (index, digit) in digits.bytes().enumerate() {
                    let value = match digit {
                        b'0'..=b'9' => digit - b'0',
                        b'a'..=b'f' => digit - b'a' + 10,
                        _ => return Err(E::invalid_value(serde::de::Unexpected::Str(digits), &self)),
                    };
                    words[index / 16] |= u64::from(value) << (4 * (index % 16));
                }
                if digits.ends_with('0') {
                    return Err(E::invalid_value(serde::de::Unexpected::Str(digits), &self));
                }
                Ok(SlotSet { words })
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_are_read_as_they_were_written() {
        let mut slots = SlotSet::default();
        assert!(slots.is_empty());
        for slot in [0, 5, 64, 130] {
            slots.insert(slot);
        }
        let mut text = Vec::new();
        slots.write(&mut text);
        assert_eq!(text, b"120000000000000010000000000000004");
        assert_eq!(slots.iter().collect::<Vec<u32>>(), [0, 5, 64, 130]);
        assert!(slots.contains(5) && !slots.contains(6) && !slots.contains(500));
    }

    #[test]
    fn other_digits_are_refused() {
        for text in ["\"g\"", "\"A\"", "\"10\"", "1", "\"\u{e9}\""] {
            assert!(serde_json::from_str::<SlotSet>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_set_comes_back(slots in prop::collection::btree_set(0u32..1000, 0..100)) {
            let mut set = SlotSet::default();
            for slot in &slots {
                set.insert(*slot);
            }
            let mut text = vec![b'"'];
            set.write(&mut text);
            text.push(b'"');
            let read: SlotSet = serde_json::from_slice(&text).expect("what was written is read");
            prop_assert_eq!(read.len(), slots.len());
            prop_assert_eq!(&read, &set);
            prop_assert_eq!(read.iter().collect::<Vec<u32>>(), slots.into_iter().collect::<Vec<u32>>());
        }
    }
}
