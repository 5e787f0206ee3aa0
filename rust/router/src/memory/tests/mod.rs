//! The memory against what requests computed. The same test is run with a memory that does something wrong: it has to
//! fail.

mod world;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use world::{Look, World, settings};

use super::Memory;
use crate::{pages, radix};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn requests_keep_what_they_computed(setting in settings()) {
        World::new(&setting.config, Look::Inside).run(setting.operations);
    }
}

/// The test above, on a memory that goes wrong: it has to fail, however little is looked at.
fn is_noticed(sabotage: impl Fn(&mut Memory)) {
    for look in [Look::Inside, Look::Numbers, Look::Contents] {
        let config =
            ProptestConfig { cases: 2000, max_shrink_iters: 0, failure_persistence: None, ..Default::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let outcome = TestRunner::new_with_rng(config, rng).run(&settings(), |setting| {
            let mut world = World::new(&setting.config, look);
            sabotage(&mut world.memory);
            world.run(setting.operations);
            Ok(())
        });
        assert!(matches!(outcome, Err(TestError::Fail(..))), "nobody noticed by {look:?}: {outcome:?}");
    }
}

#[test]
fn a_lost_page_is_noticed() {
    is_noticed(|memory| memory.pool.fault = Some(pages::Fault::LosesPages));
}

#[test]
fn a_page_given_twice_is_noticed() {
    is_noticed(|memory| memory.pool.fault = Some(pages::Fault::GivesPagesTwice));
}

#[test]
fn a_forgotten_lock_is_noticed() {
    is_noticed(|memory| memory.cache.fault = Some(radix::Fault::ForgetsLocks));
}

#[test]
fn a_stale_match_is_noticed() {
    is_noticed(|memory| memory.cache.fault = Some(radix::Fault::TrustsStaleMatches));
}

#[test]
fn a_page_taken_from_others_is_noticed() {
    is_noticed(|memory| memory.cache.fault = Some(radix::Fault::ReplacesHeldPages));
}

#[test]
fn mixed_salts_are_noticed() {
    is_noticed(|memory| memory.cache.fault = Some(radix::Fault::MixesSalts));
}

/// What does no harm is not noticed: the tests above don't fail for whatever reason.
#[test]
fn equal_hashes_do_no_harm() {
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() };
    let outcome = TestRunner::new(config).run(&settings(), |setting| {
        let mut world = World::new(&setting.config, Look::Inside);
        world.memory.cache.fault = Some(radix::Fault::SameHash);
        world.run(setting.operations);
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}
