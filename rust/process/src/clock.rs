use std::time::{Duration, Instant};

/// Time since a process's start.
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds since the start of the process.
    pub fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// CPU time of the process so far, all threads.
pub fn cpu_time() -> Duration {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `spec` is a valid timespec that the call fills; the clock id is a constant.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut spec) };
    assert_eq!(code, 0, "the kernel has a CPU clock for the process that asks");
    Duration::new(spec.tv_sec as u64, spec.tv_nsec as u32)
}
