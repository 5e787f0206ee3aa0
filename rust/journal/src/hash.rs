//! Names for the pages of a prompt that give away nothing but which of them are equal.
//!
//! The name of a position is a keyed hash of the cache salt and all tokens up to there, so it stands for the whole
//! prefix. Only the last two positions of a page have one, 32 bits each (for pages of one position it is one): a
//! token id is all that a replayed prompt has room for, and two of them make a false match of two different pages
//! as good as impossible. The second to last and not any other position, because in a page that outputs complete a
//! name must be known when its token comes.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher24Wide};

/// Key of the hashes of one journal: random, drawn anew for each. Without it nobody can check a guess of a prompt.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// A key of 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The name of a cache salt. No salt, 0, stays 0.
    pub(crate) fn salt(&self, salt: u128) -> u128 {
        if salt == 0 {
            return 0;
        }
        let mut hasher = SipHasher24Wide::new_with_key(&self.0);
        hasher.write(&salt.to_le_bytes());
        hasher.finish128().as_u128().max(1)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Positions at the end of a page that have a name.
pub(crate) fn named_positions(page_size: u32) -> u32 {
    page_size.min(2)
}

/// How many positions of the first `tokens` have a name.
pub(crate) fn names_of(tokens: usize, page_size: u32) -> usize {
    let (size, named) = (page_size as usize, named_positions(page_size) as usize);
    tokens / size * named + (tokens % size + named).saturating_sub(size)
}

/// Token id that ends the output of a replayed request; never a name.
pub(crate) const END_ID: u32 = u32::MAX;

/// The rolling hash of one request.
#[derive(Clone)]
pub(crate) struct PrefixHash {
    hasher: SipHasher24,
    page_size: u32,
    /// Tokens so far that are in the last page.
    in_page: u32,
}

impl PrefixHash {
    pub fn new(key: &Key, salt: u128, page_size: u32) -> Self {
        let mut hasher = SipHasher24::new_with_key(&key.0);
        hasher.write(&salt.to_le_bytes());
        Self { hasher, page_size, in_page: 0 }
    }

    /// Takes one more token. Its name, if its position has one.
    pub fn push(&mut self, token: u32) -> Option<u32> {
        self.hasher.write_u32(token);
        let place = self.in_page + 1;
        self.in_page = if place == self.page_size { 0 } else { place };
        (place + named_positions(self.page_size) > self.page_size).then(|| self.name())
    }

    fn name(&self) -> u32 {
        (self.hasher.finish() as u32).min(END_ID - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(key: &Key, salt: u128, page_size: u32, tokens: &[u32]) -> Vec<u32> {
        let mut hash = PrefixHash::new(key, salt, page_size);
        tokens.iter().filter_map(|token| hash.push(*token)).collect()
    }

    #[test]
    fn the_last_two_positions_of_a_page_have_names() {
        let key = Key::new([7; 16]);
        let tokens: Vec<u32> = (0..40).collect();
        for page_size in 1..20 {
            for length in 0..tokens.len() {
                let names = names(&key, 0, page_size, &tokens[..length]);
                let counts = |p: &usize| (p % page_size as usize) as u32 + named_positions(page_size) >= page_size;
                assert_eq!(names.len(), (0..length).filter(counts).count(), "{length} tokens, pages of {page_size}");
                assert_eq!(names.len(), names_of(length, page_size));
            }
        }
        assert_eq!(named_positions(1), 1);
    }

    #[test]
    fn names_stand_for_the_whole_prefix_its_salt_and_the_key() {
        let (key, other) = (Key::new([1; 16]), Key::new([2; 16]));
        let tokens: Vec<u32> = (0..32).collect();
        let base = names(&key, 3, 8, &tokens);
        assert_eq!(base, names(&key, 3, 8, &tokens));
        for changed in 0..32 {
            let mut tokens = tokens.clone();
            tokens[changed] += 100;
            let names = names(&key, 3, 8, &tokens);
            let first = names_of(changed, 8);
            assert_eq!(names[..first], base[..first], "names before token {changed}");
            assert!(names[first..].iter().zip(&base[first..]).all(|(a, b)| a != b), "names from token {changed}");
        }
        assert!(base.iter().zip(names(&other, 3, 8, &tokens)).all(|(a, b)| *a != b));
        assert!(base.iter().zip(names(&key, 4, 8, &tokens)).all(|(a, b)| *a != b));
    }

    #[test]
    fn salts_get_names_of_their_own_and_none_stays_none() {
        let (key, other) = (Key::new([1; 16]), Key::new([2; 16]));
        assert_eq!(key.salt(0), 0);
        assert_ne!(key.salt(5), 5);
        assert_ne!(key.salt(5), key.salt(6));
        assert_ne!(key.salt(5), other.salt(5));
        assert_eq!(format!("{key:?}"), "Key(..)");
    }
}
