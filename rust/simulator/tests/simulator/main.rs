//! The simulator from outside: setups in, reports out.

mod accounts;
mod bad_input;
mod decisions;
mod formats;
mod helpers;
mod queueing;
mod repeatable;
