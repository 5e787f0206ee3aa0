//! The order of requests, seen from outside: through a scheduler that serves a stream of them.

mod bypass;
mod deadlines;
mod fairness;
mod precedence;
mod server;
mod starvation;
