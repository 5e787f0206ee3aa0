//! Limits of control groups, in folders that look like theirs.

use std::fs;
use std::path::{Path, PathBuf};

use lightllm_cache::{CGROUPS, Error, check_memory};

const MIB: u64 = 1 << 20;
const SECOND: &str = "0::/service/one\n";
const FIRST: &str = "9:name=systemd:/x\n4:cpu,memory:/service/one\n0::/elsewhere\n";

/// A folder of one test.
struct Root(PathBuf);

impl Root {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("it can be made");
        Self(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn group(folder: &Path, files: &[(&str, String)]) {
    fs::create_dir_all(folder).expect("it can be made");
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("it can be written");
    }
}

fn second(limit: u64, used: u64, files: u64) -> Vec<(&'static str, String)> {
    let stat =
        format!("anon 5\nfile 99999999999\ninactive_file {}\nactive_file {}\nshmem 7\n", files / 4, files / 4 * 3);
    vec![("memory.max", format!("{limit}\n")), ("memory.current", format!("{used}\n")), ("memory.stat", stat)]
}

fn first(limit: u64, used: u64, files: u64) -> Vec<(&'static str, String)> {
    let stat = format!("cache 1\ninactive_file 1\ntotal_inactive_file {files}\ntotal_active_file 0\n");
    let number = |value: u64| format!("{value}\n");
    vec![("memory.limit_in_bytes", number(limit)), ("memory.usage_in_bytes", number(used)), ("memory.stat", stat)]
}

#[test]
fn what_a_group_leaves_is_enough_or_is_refused_with_the_sum() {
    let root = Root::new("what_a_group_leaves_is_enough_or_is_refused_with_the_sum");
    group(&root.path().join("service/one"), &second(100 * MIB, 40 * MIB, 0));
    assert_eq!(check_memory(root.path(), SECOND, 60 * MIB), Ok(()));
    let error = check_memory(root.path(), SECOND, 60 * MIB + 1).expect_err("a byte more");
    assert_eq!(error, Error::NoMemory { needed: 60 * MIB + 1, free: 60 * MIB, limit: 100 * MIB });
    for part in ["62914561 bytes", "62914560 of 104857600", "--mm-cache-size", "--memory"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn files_that_are_read_take_nothing_away() {
    let root = Root::new("files_that_are_read_take_nothing_away");
    group(&root.path().join("service/one"), &second(100 * MIB, 99 * MIB, 80 * MIB));
    assert_eq!(check_memory(root.path(), SECOND, 81 * MIB), Ok(()));
    assert!(check_memory(root.path(), SECOND, 82 * MIB).is_err());
}

#[test]
fn the_least_that_any_group_above_leaves_counts() {
    let root = Root::new("the_least_that_any_group_above_leaves_counts");
    group(&root.path().join("service/one"), &second(100 * MIB, 0, 0));
    group(&root.path().join("service"), &second(50 * MIB, 20 * MIB, 0));
    assert!(check_memory(root.path(), SECOND, 31 * MIB).is_err());
    assert_eq!(check_memory(root.path(), SECOND, 30 * MIB), Ok(()));
    assert_eq!(check_memory(root.path(), "0::/other\n", 99 * MIB), Ok(()), "another group's limits");
    group(root.path(), &second(10 * MIB, 0, 0)); // a container's own group, whatever its path says
    assert!(check_memory(root.path(), "0::/other\n", 11 * MIB).is_err());
}

#[test]
fn groups_of_version_1_count_too() {
    let root = Root::new("groups_of_version_1_count_too");
    group(&root.path().join("memory/service/one"), &first(100 * MIB, 90 * MIB, 20 * MIB));
    assert_eq!(check_memory(root.path(), FIRST, 30 * MIB), Ok(()));
    assert!(check_memory(root.path(), FIRST, 31 * MIB).is_err());
    group(&root.path().join("memory/service/one"), &first(0x7fff_ffff_ffff_f000, 90 * MIB, 0));
    assert_eq!(check_memory(root.path(), FIRST, u64::MAX / 4), Ok(()), "no limit is set");
}

#[test]
fn what_says_nothing_is_no_limit() {
    let root = Root::new("what_says_nothing_is_no_limit");
    for groups in ["", "\n", "0::\n", "nonsense", "0::/../../etc\n", SECOND, FIRST] {
        assert_eq!(check_memory(root.path(), groups, u64::MAX), Ok(()), "{groups:?}");
    }
    let unlimited = [("memory.max", "max\n".to_owned()), ("memory.current", "7\n".to_owned())];
    group(&root.path().join("service/one"), &unlimited);
    assert_eq!(check_memory(root.path(), SECOND, u64::MAX), Ok(()));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    assert_eq!(check_memory(Path::new(CGROUPS), &groups, 1), Ok(()), "this machine has a byte");
}
