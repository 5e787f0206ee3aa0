use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::item::Key;
use crate::{Error, Result};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Looks at a record that is just being changed before it is taken for broken.
#[cfg(not(loom))]
const LOOKS: u32 = 1000;
#[cfg(loom)]
const LOOKS: u32 = 2;

/// How far an item is, as its record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// No item.
    Free = 0,
    /// Somebody writes its data.
    Reserved = 1,
    /// It waits for an encoder.
    Written = 2,
    /// An encoder has it.
    Encoding = 3,
    /// Its features are there.
    Ready = 4,
    /// It could not be encoded.
    Failed = 5,
}

impl Phase {
    fn from_word(word: u64) -> Option<Self> {
        [Self::Free, Self::Reserved, Self::Written, Self::Encoding, Self::Ready, Self::Failed]
            .into_iter()
            .find(|phase| *phase as u64 == word)
    }
}

/// What a record says of its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How many items had the record before.
    pub generation: u32,
    /// How far the item is.
    pub phase: Phase,
    /// Its name.
    pub key: Key,
    /// Bytes of the original.
    pub data_len: u64,
    /// Bytes of the features.
    pub feature_len: u64,
}

/// Words of a header.
const WORDS: usize = 5;

impl Header {
    fn words(&self) -> [u64; WORDS] {
        let key = u128::from_le_bytes(self.key.0);
        let state = u64::from(self.generation) << 32 | self.phase as u64;
        [state, key as u64, (key >> 64) as u64, self.data_len, self.feature_len]
    }

    fn from_words([state, low, high, data_len, feature_len]: [u64; WORDS]) -> Option<Self> {
        let key = u128::from(high) << 64 | u128::from(low);
        let (generation, phase) = ((state >> 32) as u32, Phase::from_word(state & u64::from(u32::MAX))?);
        Some(Self { generation, phase, key: Key(key.to_le_bytes()), data_len, feature_len })
    }
}

/// Over the words of a header, against a stray write into the arena. Against nobody who means harm: whoever can write
/// there is of this service.
fn checksum(words: [u64; WORDS]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x6c6c_7273, 0x6172_656e);
    for word in words {
        hasher.write_u64(word);
    }
    hasher.finish()
}

/// A header in shared memory. One process writes it, and others read it meanwhile.
///
/// A sequence lock (H.-J. Boehm, Can seqlocks get along with programming language memory models?, 2012): `sequence` is
/// odd while the words are being changed, and a reader that sees it change looks again.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Record {
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
    checksum: AtomicU64,
}

impl Record {
    /// For tests: records that no other process sees.
    pub fn new() -> Self {
        let record = Self {
            sequence: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            checksum: AtomicU64::new(0),
        };
        record.clear(0);
        record
    }

    /// There is no item.
    pub fn clear(&self, generation: u32) {
        self.write(&Header { generation, phase: Phase::Free, key: Key([0; 16]), data_len: 0, feature_len: 0 });
    }

    /// Changes the header. For one thread of one process alone.
    pub fn write(&self, header: &Header) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let words = header.words();
        for (place, word) in self.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.checksum.store(checksum(words), Ordering::Relaxed);
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// The header as it was at one moment of the call.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if somebody else wrote into it, or its writer died at it.
    pub fn read(&self) -> Result<Header> {
        for _ in 0..LOOKS {
            let before = self.sequence.load(Ordering::Acquire);
            let words: [u64; WORDS] = std::array::from_fn(|index| self.words[index].load(Ordering::Relaxed));
            let sum = self.checksum.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                let header = Header::from_words(words).filter(|_| checksum(words) == sum);
                return header.ok_or(Error::Corrupt("a record has the wrong checksum"));
            }
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(not(loom))]
            std::hint::spin_loop();
        }
        Err(Error::Corrupt("a record is half written"))
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn header(generation: u32) -> Header {
        let key = Key(std::array::from_fn(|index| index as u8 + 1));
        Header { generation, phase: Phase::Ready, key, data_len: 1 << 40, feature_len: 7 }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(size_of::<Record>(), 64);
        let record = Record::new();
        assert_eq!(record.read().map(|header| header.phase), Ok(Phase::Free));
        record.write(&header(u32::MAX));
        assert_eq!(record.read(), Ok(header(u32::MAX)));
        record.clear(4);
        assert_eq!(record.read().map(|header| (header.phase, header.generation)), Ok((Phase::Free, 4)));
    }

    #[test]
    fn a_stray_write_into_any_word_is_seen() {
        for index in 0..=WORDS {
            for bit in 0..64 {
                let record = Record::new();
                record.write(&header(3));
                let word = record.words.get(index).unwrap_or(&record.checksum);
                word.fetch_xor(1 << bit, Ordering::Relaxed);
                assert_eq!(record.read(), Err(Error::Corrupt("a record has the wrong checksum")));
            }
        }
    }

    #[test]
    fn a_record_whose_writer_died_at_it_is_refused() {
        let record = Record::new();
        record.sequence.fetch_add(1, Ordering::Relaxed);
        assert_eq!(record.read(), Err(Error::Corrupt("a record is half written")));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;

    use super::*;

    /// Every order in which a reader and the writer can meet: what is read was written as a whole.
    #[test]
    fn a_reader_sees_whole_headers_only() {
        loom::model(|| {
            let record = Arc::new(Record::new());
            let header = |generation| Header {
                generation,
                phase: Phase::Ready,
                key: Key([generation as u8; 16]),
                data_len: generation.into(),
                feature_len: generation.into(),
            };
            record.write(&header(1));
            let writer = {
                let record = Arc::clone(&record);
                loom::thread::spawn(move || record.write(&header(2)))
            };
            match record.read() {
                Ok(read) => assert!(read == header(1) || read == header(2), "torn: {read:?}"),
                Err(error) => assert_eq!(error, Error::Corrupt("a record is half written")),
            }
            writer.join().expect("the writer does not panic");
            assert_eq!(record.read(), Ok(header(2)));
        });
    }
}
