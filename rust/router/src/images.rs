//! Images in a prompt: which positions stand for them, and how far a prompt can be computed without those that are
//! still being encoded.

use crate::error::{Error, Result};
use crate::ids::RequestId;

/// Consecutive positions of a prompt that stand for one image. They can be computed once its features are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageSpan {
    /// First position.
    pub start: u32,
    /// Number of positions, one at least.
    pub tokens: u32,
    /// The features are there.
    pub ready: bool,
}

impl ImageSpan {
    /// Position after the last.
    pub fn end(&self) -> u64 {
        u64::from(self.start) + u64::from(self.tokens)
    }
}

/// Checks that images are in order, apart, and within a prompt of this length.
pub(crate) fn check(images: &[ImageSpan], prompt: u64) -> Result<()> {
    let mut free = 0;
    for (index, image) in images.iter().enumerate() {
        let reason = if image.tokens == 0 {
            "it has no positions"
        } else if u64::from(image.start) < free {
            "it begins before the one before it ends"
        } else if image.end() > prompt {
            "it goes past the prompt"
        } else {
            free = image.end();
            continue;
        };
        return Err(Error::BadImage { image: index, reason });
    }
    Ok(())
}

/// Positions, from the first, that can be computed by now where `cached` are there already, whatever they stand for:
/// up to the first image that is not ready. None if that is all.
pub(crate) fn open_until(images: &[ImageSpan], cached: usize) -> Option<usize> {
    let waits = images.iter().find(|image| !image.ready && image.end() > cached as u64)?;
    Some((waits.start as usize).max(cached))
}

/// Says that an image of a request is ready. An error if it has no such image.
pub(crate) fn set_ready(images: &mut [ImageSpan], request: RequestId, image: u32) -> Result<()> {
    let count = images.len();
    let span = images.get_mut(image as usize).ok_or(Error::NoSuchImage { request, image, images: count })?;
    span.ready = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(start: u32, tokens: u32, ready: bool) -> ImageSpan {
        ImageSpan { start, tokens, ready }
    }

    #[test]
    fn images_are_in_order_apart_and_in_the_prompt() {
        let two = |first: ImageSpan, second: ImageSpan| check(&[first, second], 20);
        assert_eq!(check(&[], 0), Ok(()));
        assert_eq!(two(image(0, 5, false), image(5, 15, true)), Ok(()), "next to each other, to the end");
        let bad = |image, reason| Err(Error::BadImage { image, reason });
        assert_eq!(two(image(0, 0, false), image(5, 1, true)), bad(0, "it has no positions"));
        assert_eq!(two(image(0, 5, false), image(4, 1, true)), bad(1, "it begins before the one before it ends"));
        assert_eq!(two(image(6, 5, false), image(0, 1, true)), bad(1, "it begins before the one before it ends"));
        assert_eq!(two(image(0, 5, false), image(5, 16, true)), bad(1, "it goes past the prompt"));
        assert_eq!(check(&[image(u32::MAX, u32::MAX, false)], 20), bad(0, "it goes past the prompt"));
    }

    #[test]
    fn a_prompt_is_open_up_to_the_first_image_that_is_not_there() {
        let images = [image(4, 4, true), image(10, 5, false), image(20, 2, false)];
        assert_eq!([0, 9, 10].map(|cached| open_until(&images, cached)), [Some(10); 3]);
        assert_eq!(open_until(&images, 12), Some(12), "the rest of it is needed");
        assert_eq!([15, 19].map(|cached| open_until(&images, cached)), [Some(20); 2], "what is cached needs no image");
        assert_eq!([22, 40].map(|cached| open_until(&images, cached)), [None; 2]);
        assert_eq!(open_until(&images[..1], 0), None);
    }

    #[test]
    fn an_image_that_there_is_not_is_an_error() {
        let mut images = [image(0, 1, false); 2];
        assert_eq!(set_ready(&mut images, RequestId(7), 1), Ok(()));
        assert_eq!(images.map(|image| image.ready), [false, true]);
        let missing = Err(Error::NoSuchImage { request: RequestId(7), image: 2, images: 2 });
        assert_eq!(set_ready(&mut images, RequestId(7), 2), missing);
    }
}
