//! A hit of eight images against a bare echo of the same sizes, both in Rust over ipc, in turns. Prints microseconds.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use lightllm_cache_server::client::{Bounds, Call, Client, Key, Outcome, Want};
use lightllm_wire::cache::CacheStart;
use lightllm_wire::{PROTOCOL, encode};

const ROUNDS: usize = 40;
const BLOCK: usize = 250;
const ITEMS: u8 = 8;

/// Bytes of the two frames of a hit of eight, as `benchmarks/image_cache.py` counts them.
const THERE: usize = 269;
const BACK: usize = 445;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => serve(&arguments[2]),
        Some("echo") => echo(&arguments[2]),
        _ => measure(),
    }
}

fn serve(directory: &str) {
    let socket = |name: &str| format!("ipc://{directory}/{name}");
    let start = CacheStart {
        protocol: PROTOCOL,
        process: "cache".to_owned(),
        clients: socket("cache"),
        control: socket("control"),
        health: socket("health"),
        metrics: socket("metrics"),
        arena: format!("/dev/shm/lightllm-rs-bench-{}", std::process::id()),
        bytes: 64 << 20,
        debug_checks: false,
    };
    lightllm_cache_server::run(&encode(&start)).expect("it serves");
}

fn echo(directory: &str) {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER).expect("a socket");
    socket.bind(&format!("ipc://{directory}/echo")).expect("bound");
    loop {
        let identity = socket.recv_bytes(0).expect("a frame");
        socket.recv_bytes(0).expect("its second part");
        socket.send_multipart([identity, vec![0; BACK]], 0).expect("sent");
    }
}

/// Ends a child with the value.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

#[allow(clippy::print_stdout)] // it is what a benchmark is for
fn measure() {
    let directory = std::env::temp_dir().join(format!("llrs-bench-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("made");
    let path = directory.display().to_string();
    let child = |what: &str| {
        let this = std::env::current_exe().expect("a program");
        Ending(Command::new(this).args([what, &path]).spawn().expect("it starts"))
    };
    let children = [child("serve"), child("echo")];
    let (client, visual) = (connect(&path), connect(&path));
    let keys: Vec<Key> = (0..ITEMS).map(|number| Key([number; 16])).collect();
    let want = |key: &Key| Want {
        key: *key,
        data_len: 200_000,
        feature_len: 500_000,
        pixels: 0,
        original_pixels: 0,
        recipe: Vec::new(),
    };
    let wants: Vec<Want> = keys.iter().map(want).collect();
    let leased = |outcome| match outcome {
        Outcome::Leased(leases) => leases,
        _ => panic!("no leases"),
    };
    let held = leased(call(&client, &Call::Acquire(wants.clone())));
    call(&client, &Call::Publish(held.clone()));
    let taken = leased(call(&visual, &Call::Take(Bounds { items: ITEMS.into(), pixels: 0, original_pixels: 0 })));
    call(&visual, &Call::PublishFeatures(taken));
    drop(held);

    let context = zmq::Context::new();
    let socket = context.socket(zmq::DEALER).expect("a socket");
    socket.connect(&format!("ipc://{path}/echo")).expect("connected");
    let frame = vec![0; THERE];
    let ping = || {
        socket.send(&frame, 0).expect("sent");
        socket.recv_bytes(0).expect("answered");
    };
    ping();
    let (mut echoes, mut hits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..BLOCK {
            echoes.push(micros(ping));
        }
        let mut held = Vec::new();
        for _ in 0..BLOCK {
            hits.push(micros(|| held.push(call(&client, &Call::Acquire(wants.clone())))));
        }
        drop(held);
        call(&client, &Call::Stats);
    }
    let (echo, hit) = (median(echoes), median(hits));
    println!("echo {echo:.1} us, hit of {ITEMS} {hit:.1} us, ratio {:.2}", hit / echo);
    drop((client, visual, children));
    std::fs::remove_dir_all(&directory).expect("it is there");
}

fn connect(directory: &str) -> Client {
    Client::connect(&format!("ipc://{directory}/cache"), "bench", Duration::from_secs(10)).expect("it answers")
}

fn call(client: &Client, call: &Call) -> Outcome {
    client.call(call, None, &mut || false).expect("answered")
}

fn micros(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1e6
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}
