//! Streams as the HTTP process drives them: frames in, text, tokens and events out.

use std::sync::{Arc, Mutex};

use lightllm_text::{
    Detokenizer, EventTemplate, Finish, News, Output, OutputSettings, Pieces, Spelling, StopSet, Streams,
};
use lightllm_wire::{
    FINISH_LENGTH, FINISH_RUNNING, FINISH_STOP, Failed, OutputRow, RouterMessage, StepOutput, TokenLogprobs, encode,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Token `t` is byte `t`.
fn output(settings: OutputSettings) -> Arc<Mutex<Output>> {
    let letters: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
    let tokens: Vec<(u32, &str)> = (0..).zip(letters.iter().map(String::as_str)).collect();
    let pieces = Arc::new(Pieces::new(Spelling::SentencePiece, &tokens, []));
    Arc::new(Mutex::new(Output::new(Box::new(Detokenizer::new(pieces, true)), settings)))
}

fn row(request: u64, text: &str, finish: u8) -> OutputRow {
    OutputRow {
        request,
        tokens: text.bytes().map(u32::from).collect::<Vec<u32>>().into(),
        finish,
        admission: None,
        logprobs: None,
        prompt_start: 0,
        prompt_logprobs: None,
    }
}

fn frame(rows: Vec<OutputRow>) -> Vec<u8> {
    encode(&RouterMessage::from(StepOutput { rows }))
}

fn logprobs(chosen: f64) -> TokenLogprobs {
    TokenLogprobs { chosen, ids: Vec::new().into(), values: Vec::<u8>::new().into() }
}

fn stops(strings: &[&str]) -> Arc<StopSet> {
    Arc::new(StopSet::new(strings))
}

#[test]
fn a_reader_is_told_once_until_it_looks() {
    let mut streams = Streams::default();
    let (one, quiet) =
        (output(OutputSettings::default()), output(OutputSettings { quiet: true, ..OutputSettings::default() }));
    streams.open(1, one.clone());
    streams.open(2, quiet.clone());
    let mut feed = |rows| streams.feed(&frame(rows), 0.0).expect("it decodes").expect("it is of outputs");
    let both = |finish| vec![row(1, "a", finish), row(2, "b", finish), row(3, "late", finish)];
    assert_eq!(feed(both(FINISH_RUNNING)), News { moved: vec![1], ..News::default() });
    assert_eq!(feed(both(FINISH_RUNNING)), News::default());
    one.lock().expect("nobody panicked").look();
    assert_eq!(one.lock().expect("nobody panicked").text(), "aa");
    assert_eq!(feed(both(FINISH_RUNNING)).moved, [1]);
    assert_eq!(feed(both(FINISH_LENGTH)), News { moved: vec![1, 2], ended: vec![1, 2], ..News::default() });
    assert_eq!(feed(both(FINISH_RUNNING)), News::default(), "they are forgotten");
    assert_eq!(quiet.lock().expect("nobody panicked").text(), "bbbb");
    assert_eq!(quiet.lock().expect("nobody panicked").finish(), Some(Finish::Length));
}

#[test]
fn a_stop_string_ends_what_the_router_goes_on_with() {
    let mut streams = Streams::default();
    let output = output(OutputSettings { stops: Some(stops(&["END"])), min_tokens: 3, ..OutputSettings::default() });
    streams.open(7, output.clone());
    assert_eq!(
        streams
            .feed(&frame(vec![row(7, "END", FINISH_RUNNING)]), 0.0)
            .expect("it decodes")
            .expect("it is of outputs")
            .ended,
        []
    );
    let news = streams
        .feed(&frame(vec![row(7, " and E", FINISH_RUNNING)]), 0.0)
        .expect("it decodes")
        .expect("it is of outputs");
    assert_eq!(news.ended, []);
    let news =
        streams.feed(&frame(vec![row(7, "ND.", FINISH_RUNNING)]), 0.0).expect("it decodes").expect("it is of outputs");
    assert_eq!(news, News { moved: vec![7], ended: vec![7], stopped: vec![7], ..News::default() });
    let mut output = output.lock().expect("nobody panicked");
    assert_eq!((output.text().as_str(), output.tokens(), output.finish()), ("END and ", 11, Some(Finish::Stop)));
    assert!(!streams.close(7));
}

#[test]
fn the_end_token_is_no_text_and_half_characters_come_at_the_end() {
    let mut streams = Streams::default();
    let output = output(OutputSettings::default());
    streams.open(1, output.clone());
    streams
        .feed(&frame(vec![OutputRow { tokens: vec![0x61, 0xc3, 0x7f].into(), ..row(1, "", FINISH_STOP) }]), 0.0)
        .expect("it decodes");
    let mut output = output.lock().expect("nobody panicked");
    assert_eq!((output.text().as_str(), output.tokens(), output.finish()), ("a\u{fffd}", 3, Some(Finish::Stop)));
}

#[test]
fn other_messages_are_left_to_the_caller_and_bad_ones_are_errors() {
    let mut streams = Streams::default();
    let failed = Failed { request: 1, kind: "backend".into(), message: "no".into(), retry_after: 0 };
    assert_eq!(streams.feed(&encode(&RouterMessage::from(failed)), 0.0).expect("it decodes"), None);
    assert!(streams.feed(b"\x92\xa6output\xc0", 0.0).is_err());
}

#[test]
fn log_probabilities_of_a_prompt_come_in_pieces_and_again_but_without_holes() {
    let mut streams = Streams::default();
    let output = output(OutputSettings::default());
    streams.open(1, output.clone());
    let mut feed = |start, values: &[f64]| {
        let entries = values.iter().map(|value| logprobs(*value)).collect();
        let row = OutputRow { prompt_start: start, prompt_logprobs: Some(entries), ..row(1, "", FINISH_RUNNING) };
        streams.feed(&frame(vec![row]), 0.0).expect("it decodes").expect("it is of outputs")
    };
    assert_eq!(feed(1, &[1.0, 2.0]).moved, [1]);
    feed(0, &[9.0, 1.0]);
    feed(2, &[2.0, 3.0]);
    let chosen: Vec<Option<f64>> = output
        .lock()
        .expect("nobody panicked")
        .prompt_logprobs()
        .iter()
        .map(|entry| entry.as_ref().map(|entry| entry.chosen))
        .collect();
    assert_eq!(chosen, [None, Some(1.0), Some(2.0), Some(3.0)]);
    let news = feed(5, &[5.0]);
    assert_eq!((news.moved.len(), news.faults[0].0), (0, 1));
}

#[test]
fn times_are_told() {
    let mut streams = Streams::default();
    streams.open(1, output(OutputSettings { began: 1.0, ..OutputSettings::default() }));
    for now in [1.5, 2.0, 4.0] {
        streams.feed(&frame(vec![row(1, "a", FINISH_RUNNING)]), now).expect("it decodes");
    }
    let latencies = streams.take_latencies();
    assert_eq!((latencies.first_token, latencies.inter_token), (vec![0.5], vec![0.5, 2.0]));
    assert_eq!(streams.take_latencies().inter_token, []);
}

#[test]
fn events() {
    let template = EventTemplate {
        head: b"<".into(),
        field: b":".into(),
        before: b"{".into(),
        after: b"}".into(),
        empty: b"{}".into(),
        tail: b">".into(),
        first: b"first".into(),
    };
    let output = output(OutputSettings { opening: "\"".into(), ..OutputSettings::default() });
    let write = |logprobs: Option<&[u8]>| {
        let mut events = Vec::new();
        template.write(&mut output.lock().expect("nobody panicked"), 12, logprobs, &mut events);
        String::from_utf8(events).expect("events are text")
    };
    let (none, stop) = (r#","logprobs":null,"finish_reason":null>"#, r#","logprobs":null,"finish_reason":"stop">"#);
    assert_eq!(write(None), format!("<12:first{none}<12:{{\"\\\"\"}}{none}"));
    assert_eq!(write(None), "");
    assert_eq!(write(Some(b"[1]")), r#"<12:{},"logprobs":[1],"finish_reason":null>"#);
    output.lock().expect("nobody panicked").take(row(1, "x\0", FINISH_STOP)).expect("no fault");
    assert_eq!(write(None), format!("<12:{{\"x\"}}{stop}"));
    assert_eq!(write(None), format!("<12:{{}}{stop}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// However the text is cut into rows and whenever somebody looks: records and text say the same, and what they say
    /// is the text up to the stop string.
    #[test]
    fn records_are_the_text(
        pieces in vec(("[abé]{0,4}", any::<bool>()), 1..10), stop in "[abé]{1,4}", min_tokens in 0_u32..6,
    ) {
        let settings = OutputSettings { stops: Some(stops(&[&stop])), min_tokens, records: true, ..OutputSettings::default() };
        let output = output(settings);
        let mut output = output.lock().expect("nobody panicked");
        let (mut text, mut records) = (String::new(), Vec::new());
        for (piece, looks) in &pieces {
            if output.finish().is_some() {
                break;
            }
            output.take(row(1, piece, FINISH_RUNNING)).expect("no fault");
            if *looks {
                text.push_str(&output.text());
                records.extend(output.records());
                let told: String = records.iter().map(|record| record.text.as_str()).collect();
                prop_assert!(text.starts_with(&told));
            }
        }
        if output.finish().is_none() {
            output.take(row(1, "", FINISH_LENGTH)).expect("no fault");
        }
        text.push_str(&output.text());
        records.extend(output.records());
        let mut letters = 0;
        for record in &records {
            prop_assert!(record.start == letters || !record.kept, "{record:?} begins elsewhere");
            letters += record.text.chars().count();
        }
        prop_assert_eq!(records.iter().map(|record| record.text.as_str()).collect::<String>(), text.clone());
        let whole: String = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
        prop_assert!(whole.starts_with(&text));
        if output.finish() == Some(Finish::Length) {
            prop_assert_eq!(text, whole);
        } else {
            prop_assert!(whole[text.len()..].starts_with(&stop));
            prop_assert_eq!(output.tokens() as usize, records.len());
        }
    }
}
