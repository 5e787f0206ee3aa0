//! Images on their way from an HTTP process to the ranks.

use std::ops::Range;

use lightllm_router as scheduler;
use lightllm_wire::{Add, FIRST_SYNTHETIC, ImageSpan, MAX_SPANS};

use crate::ranks::Capacity;

/// Checks the token ids of a request, and its images as far as the scheduler does not. What the scheduler is told of the
/// images, or why the request is refused.
pub fn check(add: &Add, capacity: &Capacity) -> Result<Vec<scheduler::ImageSpan>, String> {
    let prompt = &add.prompt.0;
    let mut checked = 0;
    for (index, image) in add.images.iter().enumerate() {
        let wrong = |what: &str| Err(format!("image {index} of the prompt is refused: {what}"));
        if !capacity.images {
            return Err("the model takes no images".to_owned());
        }
        if index >= MAX_SPANS {
            return Err(format!("the prompt has {} images: give {MAX_SPANS} at most", add.images.len()));
        }
        if image.key.len() != ImageSpan::KEY_BYTES {
            return wrong("its key has not 16 bytes");
        }
        if image.grid.contains(&0) {
            return wrong("its grid is empty");
        }
        let start = image.start as usize;
        let Some(ids) = start.checked_add(image.tokens as usize).and_then(|end| prompt.get(start..end)) else {
            return wrong("it goes past the prompt");
        };
        if start < checked {
            return wrong("it begins before the one before it ends");
        }
        if let Some(id) = ids.iter().find(|id| **id < FIRST_SYNTHETIC) {
            return wrong(&format!("token id {id} in its place is one of text"));
        }
        check_text(&prompt[checked..start], capacity)?;
        checked = start + ids.len();
    }
    check_text(&prompt[checked..], capacity)?;
    if add.position_offset > 0 || add.position_offset.unsigned_abs() > prompt.len() as u64 {
        return Err(format!("position_offset is {}: it is from minus the prompt's length to 0", add.position_offset));
    }
    if !add.images.is_empty() && add.sampling.prompt_logprobs >= 0 {
        return Err("log-probabilities of a prompt with images are not there: ask for them without images".to_owned());
    }
    let span =
        |image: &ImageSpan| scheduler::ImageSpan { start: image.start, tokens: image.tokens, ready: image.ready };
    Ok(add.images.iter().map(span).collect())
}

fn check_text(ids: &[u32], capacity: &Capacity) -> Result<(), String> {
    let vocab = capacity.vocab.min(FIRST_SYNTHETIC);
    match ids.iter().find(|id| **id >= vocab) {
        Some(id) => Err(format!("token id {id} is not below the vocabulary size {vocab}")),
        None => Ok(()),
    }
}

/// Images as a rank is told of them at an attach whose rows read those of `range`.
pub fn attached(images: &[ImageSpan], range: &Range<u32>) -> Vec<ImageSpan> {
    let tell = |(index, image): (u32, &ImageSpan)| ImageSpan { ready: range.contains(&index), ..image.clone() };
    (0..).zip(images).map(tell).collect()
}

#[cfg(test)]
mod tests {
    use lightllm_wire::Sampling;
    use serde_bytes::ByteBuf;

    use super::*;

    const CAPACITY: Capacity =
        Capacity { pages: 10, page_size: 16, slots: 4, vocab: 100, context: 1 << 20, images: true };
    const IMAGE: u32 = FIRST_SYNTHETIC;

    fn sampling() -> Sampling {
        Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            seed: 0,
            presence: 0.0,
            frequency: 0.0,
            repetition: 1.0,
            min_tokens: 0,
            logprobs: -1,
            prompt_logprobs: -1,
            end_ids: Vec::new().into(),
            bias_ids: Vec::new().into(),
            bias_values: ByteBuf::new(),
        }
    }

    fn image(start: u32, tokens: u32) -> ImageSpan {
        ImageSpan { start, tokens, key: ByteBuf::from([1; 16]), grid: [1, 1, tokens], ready: start > 0 }
    }

    fn add(prompt: Vec<u32>, images: Vec<ImageSpan>) -> Add {
        Add {
            request: 1,
            prompt: prompt.into(),
            max_tokens: 4,
            sampling: sampling(),
            cache_salt: String::new(),
            priority: 0,
            deadline_ms: 0,
            tenant: 0,
            class_label: 0,
            siblings: Vec::new(),
            images,
            position_offset: 0,
        }
    }

    #[test]
    fn what_is_right_reaches_the_scheduler() {
        assert_eq!(check(&add(vec![1, 99], vec![]), &CAPACITY), Ok(vec![]));
        let two = add(vec![IMAGE, u32::MAX, 5, IMAGE], vec![image(0, 2), image(3, 1)]);
        let span = |start, tokens, ready| scheduler::ImageSpan { start, tokens, ready };
        assert_eq!(check(&two, &CAPACITY), Ok(vec![span(0, 2, false), span(3, 1, true)]));
        let offset = Add { position_offset: -4, ..two };
        assert!(check(&offset, &CAPACITY).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let key = ImageSpan { key: ByteBuf::from([1; 15]), ..image(0, 1) };
        let grid = ImageSpan { grid: [1, 0, 1], ..image(0, 1) };
        let logprobs = Sampling { prompt_logprobs: 0, ..sampling() };
        let many = (0..=MAX_SPANS as u32).map(|start| image(start, 1)).collect();
        let cases = [
            (add(vec![1, 100], vec![]), "token id 100 is not below the vocabulary size 100"),
            (add(vec![IMAGE], vec![]), "token id 2147483648 is not below the vocabulary size 100"),
            (add(vec![IMAGE, 1, 100], vec![image(0, 1)]), "token id 100 is not below"),
            (add(vec![IMAGE, IMAGE], vec![image(1, 1)]), "token id 2147483648 is not below"),
            (add(vec![IMAGE, 5], vec![image(0, 2)]), "image 0 of the prompt is refused: token id 5 in its place"),
            (add(vec![IMAGE], vec![image(0, 2)]), "image 0 of the prompt is refused: it goes past the prompt"),
            (add(vec![IMAGE], vec![image(u32::MAX, u32::MAX)]), "it goes past the prompt"),
            (add(vec![IMAGE; 3], vec![image(0, 2), image(1, 2)]), "image 1 of the prompt is refused: it begins before"),
            (add(vec![IMAGE], vec![key]), "its key has not 16 bytes"),
            (add(vec![IMAGE], vec![grid]), "its grid is empty"),
            (add(vec![IMAGE; MAX_SPANS + 1], many), "the prompt has 1025 images: give 1024 at most"),
            (Add { position_offset: 1, ..add(vec![1], vec![]) }, "position_offset is 1"),
            (Add { position_offset: -2, ..add(vec![1], vec![]) }, "position_offset is -2"),
            (Add { sampling: logprobs, ..add(vec![IMAGE], vec![image(0, 1)]) }, "log-probabilities of a prompt"),
        ];
        for (add, expected) in cases {
            let refusal = check(&add, &CAPACITY).expect_err(expected);
            assert!(refusal.contains(expected), "{refusal}\nis not\n{expected}");
        }
        let blind = Capacity { images: false, ..CAPACITY };
        assert_eq!(check(&add(vec![IMAGE], vec![image(0, 1)]), &blind), Err("the model takes no images".to_owned()));
        assert_eq!(check(&add(vec![1], vec![]), &blind), Ok(vec![]));
    }

    #[test]
    fn a_vocabulary_never_reaches_the_ids_of_images() {
        let all = Capacity { vocab: u32::MAX, ..CAPACITY };
        assert!(check(&add(vec![IMAGE - 1], vec![]), &all).is_ok());
        assert!(check(&add(vec![IMAGE], vec![]), &all).is_err());
    }

    #[test]
    fn a_rank_is_told_of_all_images_and_which_of_them_it_needs() {
        let images = [image(0, 1), image(3, 1), image(9, 1)];
        let ready = |range| attached(&images, &range).iter().map(|image| image.ready).collect::<Vec<_>>();
        assert_eq!(ready(1..2), [false, true, false]);
        assert_eq!(ready(0..0), [false; 3]);
        assert!(attached(&[], &(0..0)).is_empty());
    }
}
