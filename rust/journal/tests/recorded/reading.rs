//! Bad journals.

use lightllm_journal::{MAX_LINE_BYTES, OnDifference, Reader, replay};
use lightllm_router::{ImageSpan, Request, RequestId, SchedulerConfig};
use proptest::prelude::*;

use crate::driver::{Operation, record};

fn good() -> Vec<u8> {
    let config = SchedulerConfig { pages: 32, page_size: 4, slots: 2, context: 64, ..SchedulerConfig::default() };
    let request = Operation::Add(Request { tenant: 3, ..Request::new(RequestId(0), vec![1; 9], 4) });
    let steps = (0..4).flat_map(|seed| [Operation::Schedule, Operation::Answer(seed, None)]);
    record(config, &[request].into_iter().chain(steps).collect::<Vec<_>>(), [1; 16], false).journal()
}

/// One in which a request waits for an image after the first page.
fn good_with_image() -> Vec<u8> {
    let config = SchedulerConfig { pages: 32, page_size: 4, slots: 2, context: 64, ..SchedulerConfig::default() };
    let images = vec![ImageSpan { start: 5, tokens: 2, ready: false }];
    let request = Operation::Add(Request { images, ..Request::new(RequestId(0), vec![1; 9], 4) });
    let steps = |count| (0..count).flat_map(|seed| [Operation::Schedule, Operation::Answer(seed, None)]);
    let ready = Operation::ImageReady(0, 0);
    let operations: Vec<_> = [request].into_iter().chain(steps(2)).chain([ready]).chain(steps(4)).collect();
    record(config, &operations, [1; 16], false).journal()
}

/// What is said of a journal: of its first bad line, or "identical" or "different".
fn verdict(journal: &[u8]) -> String {
    let run = || replay(Reader::new("a.journal".to_owned(), journal)?, OnDifference::Count);
    match run() {
        Ok(report) if report.identical() => "identical".to_owned(),
        Ok(_) => "different".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The journal with a text replaced.
fn with(from: &str, to: &str) -> String {
    let text = String::from_utf8(good()).expect("a journal is text");
    assert!(text.contains(from), "{from} is in {text}");
    verdict(text.replacen(from, to, 1).as_bytes())
}

#[test]
fn files_without_a_header_are_named() {
    let end = ": give a file that `serve --journal` wrote";
    assert_eq!(verdict(b""), format!("a.journal: the file is empty{end}"));
    for text in ["\n", "{}\n", "TIMESTAMP,ContextTokens,GeneratedTokens\n", "\u{0}\u{0}", "{\"journal\":1,\"tok"] {
        let expected = format!("a.journal: the first line is not the header of a journal{end}");
        assert_eq!(verdict(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn headers_are_checked() {
    let cases = [
        (r#""journal":2"#, r#""journal":3"#, "a.journal:1: journal: the version is 3, but only 1 to 2 can be read"),
        (r#""journal":2"#, r#""journal":0"#, "a.journal:1: journal: the version is 0, but only 1 to 2 can be read"),
        (r#""page_size":4"#, r#""page_size":"4""#, "config.page_size: invalid type: string \"4\", expected u32"),
        (r#""page_size":4"#, r#""page_size":0"#, "a.journal:1: config: page_size: is 0: it must be at least 1"),
        (r#""seed":0"#, r#""seed":0,"sead":1"#, "unknown field `sead`"),
        (r#""pages":32"#, r#""pages":100000000"#, "config.pages: is 100000000: it must be at most 67108864"),
    ];
    for (from, to, expected) in cases {
        let verdict = with(from, to);
        assert!(verdict.contains(expected), "{verdict}");
    }
}

#[test]
fn bad_lines_are_named_with_their_field() {
    let cases = [
        (r#""max_tokens":4"#, r#""max_tokens":-4"#, "a.journal:2: add.max_tokens: invalid value: integer `-4`"),
        (r#""max_tokens":4,"#, "", "a.journal:2: add: missing field `max_tokens`"),
        (r#""prompt":9"#, r#""prompt":90"#, "a.journal:2: add.hashes: are 4, but a prompt of 90 tokens has 44"),
        (r#""tenant":3"#, r#""tenant":3,"tokens":[1]"#, "a.journal:2: add.tokens: the header says that there are none"),
        (r#""hashes":""#, r#""hashes":"x"#, "a.journal:2: add.hashes: invalid value: string \"x"),
        (r#"{"schedule""#, r#"{"shedule""#, "a.journal:3: unknown variant `shedule`, expected one of `add`"),
        (r#""digest":""#, r#""digest":"0"#, "a.journal:3: schedule.digest: invalid value"),
        (r#""slots":"1"}}"#, r#""slots":"1"}} 1"#, "a.journal:4: there is more than one value in the line"),
        (r#"{"update":{"now":3000000"#, r#"{"update":{"now":1"#, "a.journal:4: now: is 1: times go from 2000000 to"),
        (r#""slots":"1""#, r#""slots":"10""#, "a.journal:4: update.slots: invalid value"),
        ("\n{\"update\"", "\n\n{\"update\"", "a.journal:4: EOF while parsing a value"),
    ];
    for (from, to, expected) in cases {
        let verdict = with(from, to);
        assert!(verdict.contains(expected), "{verdict}\nis not\n{expected}");
    }
}

#[test]
fn different_decisions_are_no_error() {
    assert_eq!(verdict(&good()), "identical");
    let image = String::from_utf8(good_with_image()).expect("a journal is text");
    assert_eq!(verdict(image.as_bytes()), "identical");
    for (from, to) in
        [("[[5,2,false]]", "[[5,2,true]]"), (r#""image":0"#, r#""image":7"#), (r#""found":true"#, r#""found":false"#)]
    {
        assert!(image.contains(from), "{from} is in {image}");
        assert_eq!(verdict(image.replacen(from, to, 1).as_bytes()), "different", "{to}");
    }
    assert!(verdict(image.replacen("[[5,2,false]]", "[[5,2]]", 1).as_bytes()).contains("a.journal:2: add.images[0]"));
    assert_eq!(with(r#""journal":2"#, r#""journal":1"#), "identical", "the first version is read too");
    assert_eq!(with(r#""slots":"1""#, r#""slots":"2""#), "different");
    assert_eq!(with(r#""prefill_chunk":2048"#, r#""prefill_chunk":5"#), "different");
}

/// A line that never ends is given up long before memory is.
#[test]
fn the_length_of_a_line_is_bounded() {
    let mut journal = good();
    journal.extend(std::iter::repeat_n(b'x', MAX_LINE_BYTES + 1));
    assert!(verdict(&journal).contains("the line is longer than 67108864 bytes"));
}

/// Whatever is refused, the journal that tells of it can be read, and a replay refuses it too.
#[test]
fn absurd_requests_make_no_bad_lines() {
    let config = SchedulerConfig { pages: 32, page_size: 1, slots: 2, context: 64, ..SchedulerConfig::default() };
    let long = Request::new(RequestId(0), vec![1; 200_000], 4);
    let rude = Request { priority: 1 << 30, ..Request::new(RequestId(0), vec![1; 9], 4) };
    let images = vec![ImageSpan::default(); 200_000];
    let full = Request { images: images.clone(), ..Request::new(RequestId(0), vec![1; 9], 4) };
    let long_and_full = Request { images, ..long.clone() };
    let operations = [long, rude, full, long_and_full].map(Operation::Add);
    for tokens in [false, true] {
        let journal = record(config, &operations, [1; 16], tokens).journal();
        assert!(journal.len() < 2000, "{} bytes", journal.len());
        assert_eq!(verdict(&journal), "identical");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(
        image in any::<bool>(),
        at in any::<usize>(),
        bytes in prop::collection::vec(any::<u8>(), 0..20),
        remove in 0usize..20,
    ) {
        let mut journal = if image { good_with_image() } else { good() };
        let at = at % journal.len();
        let end = (at + remove).min(journal.len());
        journal.splice(at..end, bytes);
        verdict(&journal);
    }

    #[test]
    fn no_digits_make_it_panic(image in any::<bool>(), at in any::<usize>(), digits in "[0-9a-f]{1,20}") {
        let mut journal = if image { good_with_image() } else { good() };
        let places: Vec<usize> = (0..journal.len()).filter(|index| journal[*index].is_ascii_digit()).collect();
        let at = places[at % places.len()];
        journal.splice(at..=at, digits.into_bytes());
        verdict(&journal);
    }
}
