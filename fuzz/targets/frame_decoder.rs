//! Frames from other processes: none makes a decoder panic, and what is decoded is the same after another round.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lightllm_wire::cache::{CacheReply, CacheRequest, CacheStart};
use lightllm_wire::{
    ChildMessage, ClientMessage, HealthMessage, MetricsMessage, PlanMessage, RankMessage, RouterMessage, RouterStart,
    SupervisorMessage, TelemetryAnswer, decode, encode,
};
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|frame: &[u8]| {
    round_trip::<ClientMessage>(frame);
    round_trip::<RouterMessage>(frame);
    round_trip::<RankMessage>(frame);
    round_trip::<PlanMessage>(frame);
    round_trip::<ChildMessage>(frame);
    round_trip::<SupervisorMessage>(frame);
    round_trip::<HealthMessage>(frame);
    round_trip::<MetricsMessage>(frame);
    round_trip::<TelemetryAnswer>(frame);
    round_trip::<RouterStart>(frame);
    round_trip::<CacheRequest>(frame);
    round_trip::<CacheReply>(frame);
    round_trip::<CacheStart>(frame);
});

/// Compared as bytes, since a NaN is not equal to itself.
fn round_trip<T: Serialize + DeserializeOwned>(frame: &[u8]) {
    let Ok(message) = decode::<T>(frame) else { return };
    let encoded = encode(&message);
    let again: T = decode(&encoded).expect("what was encoded can be decoded");
    assert_eq!(encode(&again), encoded);
}
