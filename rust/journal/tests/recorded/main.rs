//! Recorded runs of schedulers, read back and replayed.

mod driver;
mod plans;
mod privacy;
mod reading;
mod times;
