//! What is measured while a simulation runs.

mod meter;
mod request_csv;
mod samples;
mod timeline;

pub(crate) use meter::{Ended, Meter, Served};
pub(crate) use request_csv::RequestCsv;
pub(crate) use samples::Samples;
pub(crate) use timeline::{State, TimelineMeter};
