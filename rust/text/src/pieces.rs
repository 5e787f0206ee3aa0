use std::collections::HashSet;

/// How a vocabulary writes the bytes of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// GPT-2's letters, one for each byte.
    ByteLevel,
    /// U+2581 is a space and `<0x0A>` a byte.
    SentencePiece,
}

impl Spelling {
    /// Adds the bytes of a token to `bytes`.
    pub fn spell(self, letters: &str, bytes: &mut Vec<u8>) {
        match self {
            Self::ByteLevel => {
                let before = bytes.len();
                for letter in letters.chars() {
                    let Some(byte) = byte_of(letter) else {
                        // A token with any other letter stands for itself.
                        bytes.truncate(before);
                        bytes.extend_from_slice(letters.as_bytes());
                        return;
                    };
                    bytes.push(byte);
                }
            }
            Self::SentencePiece => match byte_token(letters) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(letters.replace('\u{2581}', " ").as_bytes()),
            },
        }
    }
}

/// GPT-2's alphabet: printable bytes stand for themselves, the other 68 are moved up from U+0100.
fn byte_of(letter: char) -> Option<u8> {
    match letter as u32 {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8), // 0x00 to 0x20
        code @ 0x121..=0x142 => Some((code - 0x121) as u8 + 0x7f), // 0x7f to 0xa0
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The byte that `<0x0A>` names.
fn byte_token(letters: &str) -> Option<u8> {
    let digits = letters.strip_prefix("<0x")?.strip_suffix('>')?;
    let hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The bytes of all tokens of a vocabulary, in one piece of memory.
pub struct Pieces {
    bytes: Vec<u8>,
    /// Token `t` has `bytes[ends[t - 1]..ends[t]]`.
    ends: Vec<u32>,
    special: HashSet<u32>,
}

impl Pieces {
    /// The table of a vocabulary.
    ///
    /// `tokens` may come in any order and leave ids out; of two with one id the first counts. `special` are left out of
    /// texts that skip special tokens.
    pub fn new(spelling: Spelling, tokens: &[(u32, &str)], special: impl IntoIterator<Item = u32>) -> Self {
        let mut tokens: Vec<_> = tokens.to_vec();
        tokens.sort_by_key(|(id, _)| *id);
        let mut bytes = Vec::with_capacity(tokens.len() * 8);
        let mut ends: Vec<u32> = Vec::with_capacity(tokens.len());
        for (id, letters) in tokens {
            if (id as usize) < ends.len() {
                continue;
            }
            ends.resize(id as usize, bytes.len() as u32); // ids that the vocabulary lacks
            spelling.spell(letters, &mut bytes);
            ends.push(bytes.len() as u32);
        }
        Self { bytes, ends, special: special.into_iter().collect() }
    }

    /// Bytes of a token, perhaps part of a character; none for an id that the vocabulary lacks (models pad theirs).
    pub fn bytes_of(&self, token: u32) -> &[u8] {
        let index = token as usize;
        let Some(end) = self.ends.get(index) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start as usize..*end as usize]
    }

    /// Whether texts that skip special tokens leave this one out.
    pub fn is_special(&self, token: u32) -> bool {
        self.special.contains(&token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_has_each_byte_once() {
        let mut seen: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte_of).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
    }

    #[test]
    fn tokens_by_id() {
        let pieces = Pieces::new(Spelling::SentencePiece, &[(3, "<0x0A>"), (1, "▁a"), (4, "<0xZZ>"), (3, "late")], [1]);
        assert_eq!(pieces.bytes_of(0), b"");
        assert_eq!(pieces.bytes_of(1), b" a");
        assert_eq!(pieces.bytes_of(2), b"");
        assert_eq!(pieces.bytes_of(3), b"\n");
        assert_eq!(pieces.bytes_of(4), b"<0xZZ>");
        assert_eq!(pieces.bytes_of(5), b"");
        assert!(pieces.is_special(1) && !pieces.is_special(3));
    }

    #[test]
    fn letters_outside_the_alphabet_stand_for_themselves() {
        let pieces = Pieces::new(Spelling::ByteLevel, &[(0, "Ġthe"), (1, "Ġ日")], []);
        assert_eq!(pieces.bytes_of(0), b" the");
        assert_eq!(pieces.bytes_of(1), "Ġ日".as_bytes());
    }
}
