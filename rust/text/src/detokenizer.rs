use std::str::from_utf8;
use std::sync::Arc;

use crate::Pieces;

/// Turns the tokens of one output into text.
pub trait Decode: Send {
    /// Adds the text that `token` makes certain: it never ends in part of a character. An error is a fault of the
    /// decoder, in its own words.
    fn push(&mut self, token: u32, text: &mut String) -> Result<(), String>;

    /// Adds what is left, with U+FFFD for bytes that are no text.
    fn finish(&mut self, text: &mut String) -> Result<(), String>;
}

/// For vocabularies whose tokens have bytes of their own.
#[derive(Clone)]
pub struct Detokenizer {
    pieces: Arc<Pieces>,
    skip_special: bool,
    /// The beginning of a character.
    pending: Vec<u8>,
}

impl Detokenizer {
    /// For one output.
    pub fn new(pieces: Arc<Pieces>, skip_special: bool) -> Self {
        Self { pieces, skip_special, pending: Vec::new() }
    }
}

impl Decode for Detokenizer {
    fn push(&mut self, token: u32, text: &mut String) -> Result<(), String> {
        if self.skip_special && self.pieces.is_special(token) {
            return Ok(());
        }
        let bytes = self.pieces.bytes_of(token);
        if self.pending.is_empty() {
            let used = decode(bytes, text);
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            self.pending.extend_from_slice(bytes);
            let used = decode(&self.pending, text);
            self.pending.drain(..used);
        }
        Ok(())
    }

    fn finish(&mut self, text: &mut String) -> Result<(), String> {
        text.push_str(&String::from_utf8_lossy(&self.pending));
        self.pending.clear();
        Ok(())
    }
}

/// Adds the text of `bytes`, with U+FFFD for what can be none, and returns how many bytes that were: the beginning of
/// a character at the end is left.
fn decode(bytes: &[u8], text: &mut String) -> usize {
    let mut used = 0;
    loop {
        match from_utf8(&bytes[used..]) {
            Ok(rest) => {
                text.push_str(rest);
                return bytes.len();
            }
            Err(error) => {
                let good = used + error.valid_up_to();
                text.push_str(from_utf8(&bytes[used..good]).expect("valid up to there"));
                let Some(wrong) = error.error_len() else { return good };
                text.push('\u{fffd}');
                used = good + wrong;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Spelling;

    /// Token `t` is byte `t`; the tokens from 256 on are special.
    fn bytes_alone() -> Arc<Pieces> {
        let letters: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
        let mut tokens: Vec<(u32, &str)> = (0..).zip(letters.iter().map(String::as_str)).collect();
        tokens.push((256, "<end>"));
        Arc::new(Pieces::new(Spelling::SentencePiece, &tokens, [256]))
    }

    fn decoded(tokens: &[u32], skip_special: bool) -> String {
        let mut detokenizer = Detokenizer::new(bytes_alone(), skip_special);
        let mut text = String::new();
        for token in tokens {
            detokenizer.push(*token, &mut text).expect("no fault");
        }
        detokenizer.finish(&mut text).expect("no fault");
        text
    }

    proptest! {
        #[test]
        fn any_bytes_one_by_one_give_what_they_give_together(bytes in vec(any::<u8>(), 0..40)) {
            let tokens: Vec<u32> = bytes.iter().map(|byte| u32::from(*byte)).collect();
            prop_assert_eq!(decoded(&tokens, true), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_text_comes_back_and_never_in_halves(written in any::<String>()) {
            let mut detokenizer = Detokenizer::new(bytes_alone(), true);
            let mut text = String::new();
            for byte in written.bytes() {
                detokenizer.push(u32::from(byte), &mut text).expect("no fault");
                prop_assert!(written.starts_with(&text));
            }
            prop_assert_eq!(text, written);
        }
    }

    #[test]
    fn special_tokens_are_left_out_only_where_asked() {
        assert_eq!(decoded(&[65, 256, 66], true), "AB");
        assert_eq!(decoded(&[65, 256, 66], false), "A<end>B");
    }
}
