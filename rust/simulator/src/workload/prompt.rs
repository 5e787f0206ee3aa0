//! Token ids that stand for the content of prompts.
//!
//! A simulated prompt needs no text, only equality: what is the same in the trace must be the same tokens, and what
//! differs must differ within its first page. So each piece of a prompt is one token repeated, made of what the piece
//! is; the kinds of pieces use different ranges.

/// Token id that ends an output. No prompt has it.
pub(crate) const END: u32 = u32::MAX;

const OWN: u32 = 0x8000_0000;
const CONVERSATION: u32 = 0x4000_0000;
const PREFIX: u32 = 0xC000_0000;
/// Numbers of one kind that are told apart.
const NUMBERS: u64 = 0x3FFF_FFFF;

/// What a prompt shares with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    /// Nothing.
    #[default]
    Own,
    /// All, as far as it reaches, with the prompts and outputs of the same conversation.
    Conversation(u64),
    /// These very tokens.
    Tokens(Vec<u32>),
    /// Blocks of `tokens` each, of which equal ids after equal beginnings are equal.
    Blocks {
        /// The ids. What the prompt has beyond them is its own.
        ids: Vec<u64>,
        /// Tokens of a block.
        tokens: u32,
    },
}

impl Prompt {
    /// Token ids of a prompt of this length. `number`: of the request, which makes the prompt its own.
    pub(crate) fn tokens(&self, number: u64, prefix: Option<(u32, u32)>, length: u32) -> Vec<u32> {
        let length = length as usize;
        let prefix_len = prefix.map_or(0, |(_, tokens)| tokens as usize);
        let mut tokens = Vec::with_capacity(prefix_len + length);
        if let Some((group, _)) = prefix {
            tokens.resize(prefix_len, PREFIX | (group & NUMBERS as u32));
        }
        if let Self::Tokens(own) = self {
            tokens.extend_from_slice(&own[..own.len().min(length)]);
        }
        if let Self::Blocks { ids, tokens: block } = self {
            for id in ids {
                let left = prefix_len + length - tokens.len();
                if left == 0 {
                    break;
                }
                let end = tokens.len() + left.min(*block as usize);
                tokens.push((id >> 32) as u32);
                tokens.resize(end, *id as u32);
            }
        }
        tokens.resize(prefix_len + length, output_token(self, number));
        tokens
    }
}

/// The token id of a request's outputs, and of what in its prompt is its own.
pub(crate) fn output_token(prompt: &Prompt, number: u64) -> u32 {
    match prompt {
        Prompt::Conversation(conversation) => CONVERSATION | (conversation % NUMBERS) as u32,
        _ => OWN | (number % NUMBERS) as u32,
    }
}

/// The token id of an image in a prompt: below those of all other kinds. `number`: of the request.
pub(crate) fn image_token(number: u64) -> u32 {
    (number % (NUMBERS + 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_differ_and_agree_as_they_should() {
        let own = Prompt::Own;
        assert_eq!(own.tokens(1, None, 3), [OWN | 1; 3]);
        assert_ne!(own.tokens(1, None, 1), own.tokens(2, None, 1));
        let turn = Prompt::Conversation(1);
        assert_ne!(turn.tokens(1, None, 1), own.tokens(1, None, 1));
        assert_eq!(turn.tokens(5, None, 2), turn.tokens(6, None, 2));
        let shared = own.tokens(1, Some((7, 4)), 2);
        assert_eq!(shared, [PREFIX | 7, PREFIX | 7, PREFIX | 7, PREFIX | 7, OWN | 1, OWN | 1]);
    }

    #[test]
    fn blocks_agree_as_far_as_their_ids() {
        let blocks = |ids: &[u64]| Prompt::Blocks { ids: ids.to_vec(), tokens: 4 };
        let a = blocks(&[1, 2, 3]).tokens(1, None, 10);
        let b = blocks(&[1, 2, 9]).tokens(2, None, 12);
        assert_eq!(a.len(), 10);
        assert_eq!(a[..8], b[..8]);
        assert_ne!(a[8..10], b[8..10]);
        let far = blocks(&[1 + (1 << 32)]).tokens(3, None, 4);
        assert_ne!(far[..1], a[..1], "ids of more than 32 bits differ within the first token");
        let short = blocks(&[1]).tokens(4, None, 6);
        assert_eq!(short[4..], [OWN | 4; 2], "tokens beyond the blocks are the request's own");
    }

    #[test]
    fn no_prompt_has_the_end_token() {
        for number in [0, NUMBERS - 1, NUMBERS, u64::MAX] {
            for prompt in [Prompt::Own, Prompt::Conversation(number)] {
                assert!(!prompt.tokens(number, Some((u32::MAX - 1, 1)), 2)[1..].contains(&END));
            }
        }
    }
}
