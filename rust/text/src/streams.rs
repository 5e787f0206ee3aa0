use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lightllm_wire::{BadFrame, FINISH_RUNNING, OutputRow, RouterMessage, decode};

use crate::{Output, Taken};

/// Values that are kept between two reports; a reader that never comes does not cost memory without end.
const MAX_VALUES: usize = 65_536;

/// What a step's frame was to those who wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Requests with something new whose readers do not know yet.
    pub moved: Vec<u64>,
    /// Requests that are over; all of them are among `moved`. They are forgotten.
    pub ended: Vec<u64>,
    /// Those of `ended` that the router goes on with.
    pub stopped: Vec<u64>,
    /// Requests that cannot go on, and why. They are forgotten, and the router goes on with them.
    pub faults: Vec<(u64, String)>,
}

/// Seconds that were measured.
#[derive(Debug, Default, PartialEq)]
pub struct Latencies {
    /// From the arrival of a request to its first token.
    pub first_token: Vec<f64>,
    /// Between two steps of a request.
    pub inter_token: Vec<f64>,
}

/// The outputs of all requests under way, by their numbers at the router.
#[derive(Default)]
pub struct Streams {
    outputs: HashMap<u64, Arc<Mutex<Output>>>,
    latencies: Latencies,
}

impl Streams {
    /// Rows of this request go to `output` from now on.
    pub fn open(&mut self, request: u64, output: Arc<Mutex<Output>>) {
        self.outputs.insert(request, output);
    }

    /// Forgets a request. Returns whether it was known.
    pub fn close(&mut self, request: u64) -> bool {
        self.outputs.remove(&request).is_some()
    }

    /// Takes a frame of the router at time `now`, in seconds. None if it says something else than outputs.
    pub fn feed(&mut self, frame: &[u8], now: f64) -> Result<Option<News>, BadFrame> {
        let RouterMessage::StepOutput(message) = decode(frame)? else { return Ok(None) };
        let mut news = News::default();
        for row in message.rows {
            self.take(row, now, &mut news);
        }
        Ok(Some(news))
    }

    fn take(&mut self, row: OutputRow, now: f64, news: &mut News) {
        let request = row.request;
        // A row that crossed with an abort has no output any more.
        let Some(shared) = self.outputs.get(&request) else { return };
        let mut output = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !row.tokens.0.is_empty() || row.finish != FINISH_RUNNING {
            let (values, seconds) = match output.note(now) {
                Ok(seconds) => (&mut self.latencies.inter_token, seconds),
                Err(seconds) => (&mut self.latencies.first_token, seconds),
            };
            if values.len() < MAX_VALUES {
                values.push(seconds);
            }
        }
        let taken = output.take(row);
        let ended = !matches!(taken, Ok(Taken::Running));
        if ended || !(output.is_quiet() || output.told) {
            output.told = true;
            news.moved.push(request);
        }
        drop(output);
        if ended {
            self.outputs.remove(&request);
        }
        match taken {
            Ok(Taken::Running) => {}
            Ok(Taken::Ended) => news.ended.push(request),
            Ok(Taken::Stopped) => {
                news.ended.push(request);
                news.stopped.push(request);
            }
            Err(fault) => {
                news.moved.pop();
                news.faults.push((request, fault));
            }
        }
    }

    /// What was measured since the last call.
    pub fn take_latencies(&mut self) -> Latencies {
        std::mem::take(&mut self.latencies)
    }
}
