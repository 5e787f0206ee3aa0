//! What the size of a page costs: memory lost to last pages, pieces of an item after much use, and the time to map one.
//! Prints a table.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use lightllm_cache::{Arena, Extent, Pages, SharedArena};

const ARENA_BYTES: u64 = 256 << 20;
const ITEMS: usize = 20_000;

/// An item's originals go soon, and leave holes; features stay until they are evicted.
const SOON: usize = 8;

fn main() {
    row(["page KiB", "lost %", "pieces of data", "pieces of features", "take+give us", "view us p50", "view us p90"]);
    for page_kib in [4, 16, 64, 256, 1024] {
        measure(page_kib << 10);
    }
}

fn measure(page_bytes: u64) {
    let path = PathBuf::from(format!("/dev/shm/lightllm-rs-bench-{}", std::process::id()));
    let arena = Arena::create(&path, ARENA_BYTES, page_bytes).expect("room");
    let shared = SharedArena::open(&path).expect("it is there");
    let mut pages = Pages::new(arena.layout().pages());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |least: u64, most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        least + random % (most - least)
    };
    let (mut data, mut features) = (VecDeque::new(), VecDeque::<Vec<Extent>>::new());
    let (mut bytes, mut held, mut pieces, mut spent, mut views) = (0, 0, [0, 0], 0.0, Vec::new());
    for _ in 0..ITEMS {
        let lengths = [draw(20_000, 1_500_000), draw(200_000, 8_000_000)];
        let counts = lengths.map(|length| length.div_ceil(page_bytes) as u32);
        let begin = Instant::now();
        while pages.free() < counts[0] + counts[1] {
            // In no order at all: as requests end.
            let index = draw(0, features.len() as u64) as usize;
            pages.give_back(&features.remove(index).expect("there are some"));
        }
        let taken = counts.map(|count| pages.take(count).expect("room was made"));
        spent += begin.elapsed().as_secs_f64();
        for index in 0..2 {
            bytes += lengths[index];
            held += u64::from(counts[index]) * page_bytes;
            pieces[index] += taken[index].len();
        }
        let [original, encoded] = taken;
        let begin = Instant::now();
        let view = shared.view(&encoded, lengths[1]).expect("inside");
        drop(view);
        views.push(begin.elapsed().as_secs_f64() * 1e6);
        features.push_back(encoded);
        data.push_back(original);
        if data.len() > SOON {
            pages.give_back(&data.pop_front().expect("just counted"));
        }
    }
    views.sort_unstable_by(f64::total_cmp);
    let mean = |count: usize| count as f64 / ITEMS as f64;
    row([
        &(page_bytes >> 10).to_string(),
        &format!("{:.2}", 100.0 * (1.0 - bytes as f64 / held as f64)),
        &format!("{:.1}", mean(pieces[0])),
        &format!("{:.1}", mean(pieces[1])),
        &format!("{:.1}", spent * 1e6 / ITEMS as f64),
        &format!("{:.1}", views[ITEMS / 2]),
        &format!("{:.1}", views[ITEMS * 9 / 10]),
    ]);
}

#[allow(clippy::print_stdout)] // it is what a benchmark is for
fn row(cells: [&str; 7]) {
    println!("{}", cells.map(|cell| format!("{cell:>18}")).concat());
}
