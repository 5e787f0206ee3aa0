//! The scheduler driven as the router drives it, against a backend whose tokens depend on every position that the
//! page tables name: one wrong page, position or order of writes, and a text is wrong.

mod backend;
mod driver;
mod groups;
mod images;
mod interleavings;
mod lateness;
mod modes;
mod precedence;
mod results;
mod scenarios;
mod shared;
mod tiles;
