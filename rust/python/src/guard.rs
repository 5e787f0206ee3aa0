//! What stands between Python and the scheduler: a lock, and a stop for panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic inside: an invariant does not hold.
#[derive(Clone, Debug)]
pub struct Broken(pub String);

/// Does work whose state nobody sees after a panic.
pub fn caught<R>(work: impl FnOnce() -> R) -> Result<R, Broken> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Broken(text.unwrap_or("it panicked without a text").to_owned())
    })
}

/// One owner at a time; after a panic nobody gets in any more.
#[derive(Debug)]
pub struct Guard<T>(Mutex<Result<T, Broken>>);

impl<T> Guard<T> {
    /// Guards a value that is whole.
    pub fn new(value: T) -> Self {
        Self(Mutex::new(Ok(value)))
    }

    /// Works on the value.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, Broken> {
        let mut state = self.lock();
        let value = state.as_mut().map_err(|broken| broken.clone())?;
        // A value that a panic left half changed is given up below, so nobody sees it.
        caught(|| work(value)).inspect_err(|broken| *state = Err(broken.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Result<T, Broken>> {
        // Panics are caught before they reach the lock; one while a broken value is dropped leaves `Err` behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
