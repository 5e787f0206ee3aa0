//! The simulator from outside: setups in, reports out.

mod accounts;
mod bad_input;
mod before;
mod budget;
mod decisions;
mod formats;
mod helpers;
mod queueing;
mod repeatable;
