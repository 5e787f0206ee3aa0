//! Images that will be ready.

use std::collections::VecDeque;

use lightllm_router::{ImageSpan, RequestId};

use crate::workload::{TraceImage, image_token};

/// All of a workload take the same time, so that they get ready in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Images {
    coming: VecDeque<(u64, Vec<RequestId>)>,
}

impl Images {
    /// When the next one is ready.
    pub fn next_at(&self) -> Option<u64> {
        self.coming.front().map(|(at, _)| *at)
    }

    /// The requests of the next one, if it is ready by `now`.
    pub fn ready(&mut self, now: u64) -> Option<Vec<RequestId>> {
        if self.next_at()? > now {
            return None;
        }
        self.coming.pop_front().map(|(_, requests)| requests)
    }

    /// An image of these requests, which arrive at `now`.
    pub fn push(&mut self, image: &TraceImage, requests: &[RequestId], now: u64) {
        let delay_ns = libm::round(image.delay_ms * 1e6) as u64;
        self.coming.push_back((now + delay_ns, requests.to_vec()));
    }
}

/// Puts an image into the prompt of request `number`.
pub(super) fn insert(image: &TraceImage, number: u64, prompt: &mut Vec<u32>) -> ImageSpan {
    let start = prompt.len().min(image.after as usize);
    prompt.splice(start..start, std::iter::repeat_n(image_token(number), image.tokens as usize));
    ImageSpan { start: start as u32, tokens: image.tokens, ready: image.delay_ms == 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_put_where_it_should_be_or_at_the_end() {
        let image = TraceImage { after: 2, tokens: 3, delay_ms: 1.0 };
        let mut prompt = vec![7; 4];
        let span = insert(&image, 5, &mut prompt);
        assert_eq!((prompt, span), (vec![7, 7, 5, 5, 5, 7, 7], ImageSpan { start: 2, tokens: 3, ready: false }));
        let mut short = vec![7];
        assert_eq!(insert(&TraceImage { delay_ms: 0.0, ..image }, 5, &mut short).start, 1);
        assert_eq!(short, [7, 5, 5, 5]);
    }

    #[test]
    fn images_get_ready_one_after_the_other() {
        let (mut images, image) = (Images::default(), TraceImage { after: 0, tokens: 1, delay_ms: 0.001 });
        images.push(&image, &[RequestId(1), RequestId(2)], 100);
        images.push(&image, &[RequestId(3)], 200);
        assert_eq!((images.next_at(), images.ready(1099)), (Some(1100), None));
        assert_eq!(images.ready(5000), Some(vec![RequestId(1), RequestId(2)]));
        assert_eq!(images.ready(5000), Some(vec![RequestId(3)]));
        assert_eq!((images.next_at(), images.ready(5000)), (None, None));
    }
}
