//! Writes the first inputs of the targets: one frame of many a kind, and journals of short runs.

use std::path::Path;
use std::{fs, io};

mod frames;
mod journals;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    write(&corpus.join("frame_decoder"), frames::frames())?;
    write(&corpus.join("journal_reader"), journals::journals())
}

fn write(folder: &Path, inputs: Vec<Vec<u8>>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (index, input) in inputs.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{index}")), input)?;
    }
    Ok(())
}
