use crate::record::Record;
use crate::{Error, Extent, Result};

/// Bytes of a page of an arena.
pub const PAGE_BYTES: u64 = 64 << 10;

/// Says that a file is an arena, and of which layout.
const MAGIC: u64 = u64::from_le_bytes(*b"LLRSMM01");

/// Where the records begin.
const RECORDS_AT: u64 = 4096;

/// Where things are in an arena:
///
/// ```text
/// 0          magic, bytes of a page, number of pages: 64-bit words
/// 4096       one record for each page: there are never more items than pages
/// data_at    pages
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    page_bytes: u64,
    pages: u32,
    data_at: u64,
}

impl Layout {
    /// As many pages as go into `bytes`.
    pub fn new(bytes: u64, page_bytes: u64) -> Result<Self> {
        if !page_bytes.is_power_of_two() || !page_bytes.is_multiple_of(rustix::param::page_size() as u64) {
            let message =
                format!("pages of {page_bytes} bytes: it must be a power of two and whole pages of the kernel");
            return Err(Error::Invalid(message));
        }
        let mut pages = bytes.saturating_sub(RECORDS_AT) / (page_bytes + size_of::<Record>() as u64);
        let at = |pages: u64| (RECORDS_AT + pages * size_of::<Record>() as u64).next_multiple_of(page_bytes);
        while pages > 0 && at(pages) + pages * page_bytes > bytes {
            pages -= 1; // the records' last page is not full: once at most
        }
        let pages = u32::try_from(pages).map_err(|_| {
            Error::Invalid(format!("an arena of {bytes} bytes has too many pages: give a smaller --mm-cache-size"))
        })?;
        if pages == 0 {
            return Err(Error::TooSmall { bytes, least: at(1) + page_bytes });
        }
        Ok(Self { page_bytes, pages, data_at: at(u64::from(pages)) })
    }

    /// The layout that an arena of `bytes` says it has in its first `words`.
    pub fn from_words(words: [u64; 3], bytes: u64) -> Result<Self> {
        let [magic, page_bytes, pages] = words;
        if magic != MAGIC {
            return Err(Error::Corrupt("it has another beginning"));
        }
        let layout = Self::new(bytes, page_bytes)?;
        if u64::from(layout.pages) != pages || layout.bytes() != bytes {
            return Err(Error::Corrupt("it has another size"));
        }
        Ok(layout)
    }

    /// What stands at its beginning.
    pub fn words(&self) -> [u64; 3] {
        [MAGIC, self.page_bytes, self.pages.into()]
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    /// Pages for items.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.data_at + u64::from(self.pages) * self.page_bytes
    }

    /// Where the records begin in the file.
    pub fn records_at(&self) -> u64 {
        RECORDS_AT
    }

    /// Where an extent is in the file: offset and bytes.
    pub fn span(&self, extent: Extent) -> (u64, u64) {
        (self.data_at + u64::from(extent.first) * self.page_bytes, u64::from(extent.pages) * self.page_bytes)
    }

    /// Whether the extents are in the arena and just hold `len` bytes.
    pub fn holds(&self, extents: &[Extent], len: u64) -> bool {
        let inside = |extent: &Extent| {
            extent.pages > 0 && extent.first.checked_add(extent.pages).is_some_and(|end| end <= self.pages)
        };
        let pages: u64 = extents.iter().map(|extent| u64::from(extent.pages)).sum();
        extents.iter().all(inside) && pages == len.div_ceil(self.page_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_filled_as_far_as_pages_go() {
        for bytes in [140_000, 200_000, 1 << 20, (1 << 20) + 1, 123_456_789, 4 << 30] {
            let layout = Layout::new(bytes, PAGE_BYTES).expect("large enough");
            assert!(layout.bytes() <= bytes && bytes - layout.bytes() <= 2 * PAGE_BYTES, "{bytes}: {layout:?}");
            let last = Extent { first: layout.pages() - 1, pages: 1 };
            let (at, len) = layout.span(last);
            assert_eq!(at + len, layout.bytes());
            assert!(layout.span(Extent { first: 0, pages: 1 }).0 >= RECORDS_AT + u64::from(layout.pages()) * 64);
            assert_eq!(Layout::from_words(layout.words(), layout.bytes()), Ok(layout));
        }
    }

    #[test]
    fn what_is_no_arena_is_refused() {
        let layout = Layout::new(1 << 20, PAGE_BYTES).expect("large enough");
        let [magic, page_bytes, pages] = layout.words();
        for words in [[magic + 1, page_bytes, pages], [magic, page_bytes * 2, pages], [magic, 0, pages], [magic, 3, 1]]
        {
            assert!(Layout::from_words(words, layout.bytes()).is_err(), "{words:?}");
        }
        assert!(Layout::from_words(layout.words(), layout.bytes() * 2).is_err());
        assert_eq!(Layout::new(100_000, PAGE_BYTES), Err(Error::TooSmall { bytes: 100_000, least: 131_072 }));
        assert!(Layout::new(1 << 62, PAGE_BYTES).is_err());
    }

    #[test]
    fn extents_must_be_inside_and_fit_the_length() {
        let layout = Layout::new(1 << 20, PAGE_BYTES).expect("large enough");
        let extent = |first, pages| Extent { first, pages };
        assert!(layout.holds(&[extent(0, 1), extent(5, 2)], 3 * PAGE_BYTES));
        assert!(layout.holds(&[extent(0, 1), extent(5, 2)], 2 * PAGE_BYTES + 1));
        assert!(!layout.holds(&[extent(0, 1), extent(5, 2)], 2 * PAGE_BYTES));
        assert!(!layout.holds(&[extent(layout.pages(), 1)], 1));
        assert!(!layout.holds(&[extent(u32::MAX, 2)], 2 * PAGE_BYTES));
        assert!(!layout.holds(&[extent(0, 0), extent(0, 1)], 1));
    }
}
