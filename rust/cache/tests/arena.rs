//! Arenas as files: made alone, reserved in full, seen by others, found when their owner is gone.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lightllm_cache::{Arena, Error, Extent, Header, Key, Phase, SharedArena, default_bytes, sweep};

const SHM: &str = "/dev/shm";
const PAGE: u64 = 64 << 10;

/// Not where a cache manager that starts meanwhile looks for arenas of dead owners.
fn place(name: &str) -> PathBuf {
    Path::new(SHM).join(format!("test-lightllm-rs-{}-{name}", std::process::id()))
}

#[test]
fn the_file_is_private_whole_and_goes_with_its_owner() {
    let path = place("private");
    let arena = Arena::create(&path, 3 << 20, PAGE).expect("room for 3 MiB");
    let file = std::fs::metadata(&path).expect("it is there");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(file.len(), arena.layout().bytes());
    assert!(file.blocks() * 512 >= file.len(), "every page is there already");
    let again = Arena::create(&path, 3 << 20, PAGE).expect_err("it is there");
    assert!(matches!(again, Error::System { what: "making the arena", .. }), "{again}");
    assert!(path.exists(), "the other's arena is not touched");
    drop(arena);
    assert!(!path.exists());
}

#[test]
fn what_does_not_fit_is_refused_with_the_sum_and_leaves_nothing() {
    let path = place("large");
    let error = Arena::create(&path, 1 << 46, PAGE).expect_err("nobody has so much memory");
    let text = error.to_string();
    assert!(matches!(error, Error::NoRoom { needed, .. } if needed > 1 << 45), "{text}");
    assert!(text.contains("--mm-cache-size") && text.contains("of") && text.contains(SHM), "{text}");
    assert!(!path.exists());
    let usual = default_bytes(Path::new(SHM)).expect("a file system");
    assert!(usual > 0 && usual <= 4 << 30);
}

#[test]
fn scattered_pages_look_contiguous_to_others_without_a_copy() {
    let path = place("views");
    let arena = Arena::create(&path, 4 << 20, PAGE).expect("room");
    let (one, two) = (SharedArena::open(&path).expect("it is there"), SharedArena::open(&path).expect("it is there"));
    assert_eq!(one.layout(), arena.layout());
    let extents = [Extent { first: 7, pages: 1 }, Extent { first: 2, pages: 2 }, Extent { first: 20, pages: 1 }];
    let len = 3 * PAGE + 5;
    let bytes: Vec<u8> = (0..len).map(|index| (index * 7 % 251) as u8).collect();
    let written = one.view(&extents, len).expect("inside");
    written.write(&bytes).expect("as long");
    assert_eq!(two.view(&extents, len).expect("inside").to_vec(), bytes);
    let page = two.view(&extents[..1], PAGE).expect("inside");
    assert_eq!(page.to_vec(), bytes[..PAGE as usize], "the first page is where it is");
    let same = two.view(&extents[..1], PAGE).expect("inside");
    assert_eq!(page.as_ptr(), same.as_ptr(), "one extent is not even mapped anew");
    assert!(written.write(&bytes[1..]).is_err());
    let beyond = Extent { first: arena.layout().pages(), pages: 1 };
    assert!(two.view(&[beyond], 1).is_err() && two.view(&extents, len + PAGE).is_err());

    drop(arena);
    assert_eq!(written.to_vec(), bytes, "an old mapping stays valid when the owner has gone");
    drop((one, two));
    assert_eq!(page.to_vec(), bytes[..PAGE as usize], "a view keeps what it needs");
}

#[test]
fn records_tell_whether_an_item_is_what_was_said() {
    let path = place("records");
    let arena = Arena::create(&path, 1 << 20, PAGE).expect("room");
    let shared = SharedArena::open(&path).expect("it is there");
    let key = Key([9; 16]);
    let header = Header { generation: 4, phase: Phase::Encoding, key, data_len: 10, feature_len: 20 };
    arena.as_ref()[3].write(&header);
    assert_eq!(shared.verify(3, 4, key, 10, 20), Ok(Phase::Encoding));
    for (slot, generation, key, data_len) in
        [(2, 4, key, 10), (3, 5, key, 10), (3, 4, Key([8; 16]), 10), (3, 4, key, 11), (1 << 20, 4, key, 10)]
    {
        assert!(matches!(shared.verify(slot, generation, key, data_len, 20), Err(Error::Corrupt(_))));
    }
}

#[test]
fn arenas_of_dead_owners_are_found_and_others_are_left_alone() {
    let prefix = format!("test-lightllm-rs-{}-sweep", std::process::id());
    let (live, dead, link) = (place("sweep-live"), place("sweep-dead"), place("sweep-link"));
    let arena = Arena::create(&live, 1 << 20, PAGE).expect("room");
    std::fs::write(&dead, b"nobody holds a lock on it").expect("written");
    std::os::unix::fs::symlink("/etc/hostname", &link).expect("linked");
    assert_eq!(sweep(Path::new(SHM), &prefix), Ok(1));
    assert!(live.exists() && !dead.exists() && link.is_symlink());
    std::fs::remove_file(&link).expect("it is there");
    drop(arena);
}

#[test]
fn what_is_no_arena_is_not_mapped() {
    let path = place("nonsense");
    std::fs::write(&path, vec![7; 200_000]).expect("written");
    assert!(matches!(SharedArena::open(&path), Err(Error::Corrupt(_))));
    std::fs::write(&path, b"short").expect("written");
    assert!(matches!(SharedArena::open(&path), Err(Error::Corrupt(_))));
    std::fs::remove_file(&path).expect("it is there");
    assert!(matches!(SharedArena::open(&path), Err(Error::System { .. })));
}
