union! {
    /// What the supervisor hears from a child.
    ChildMessage {
        /// First frame of a child.
        "hello" => ChildHello {
            #[allow(missing_docs)] protocol: u32,
            #[allow(missing_docs)] process: String,
            #[allow(missing_docs)] pid: u32,
        }
        /// A part of a child's start is done.
        "phase" => Phase {
            #[allow(missing_docs)] name: String,
            #[allow(missing_docs)] seconds: f64,
            /// One line for people.
            detail: String,
        }
        /// The child serves from now on.
        "ready" => Ready {}
        /// Something that the operator should read; the child goes on.
        "notice" => Notice { #[allow(missing_docs)] message: String }
        /// The child's last words.
        "fatal" => Fatal { #[allow(missing_docs)] message: String }
        /// An HTTP process has no request left.
        "drained" => Drained {}
        /// Device memory that a visual server keeps from now on.
        "holds" => Holds { #[allow(missing_docs)] bytes: u64 }
        /// A backend asks whether it may measure free memory.
        "measure?" => MayMeasure {}
        /// From a visual server, once a second.
        "beat" => Beat {
            /// It has taken images.
            busy: bool,
            /// Any number that changes when something is done for them.
            progress: u64,
        }
    }
}

union! {
    /// What a child hears from the supervisor.
    SupervisorMessage {
        /// Router and all ranks are ready.
        "up" => EngineUp { #[allow(missing_docs)] epoch: u32, #[allow(missing_docs)] endpoint: String }
        /// Router or a backend is gone.
        "down" => EngineDown { #[allow(missing_docs)] reason: String }
        /// Accept nothing new, finish what runs.
        "drain" => Drain {}
        /// End now, with exit code 0.
        "stop" => Stop {}
        /// A cache manager is ready.
        "cache-up" => CacheUp { #[allow(missing_docs)] epoch: u32, #[allow(missing_docs)] endpoint: String }
        /// The cache manager is gone.
        "cache-down" => CacheDown {}
        /// The visual servers of the backend's GPU have taken so many bytes of its memory.
        "measure" => Measure {
            #[allow(missing_docs)] bytes: u64,
            /// What those need that are not there.
            missing: u64,
        }
        /// No image can be encoded, for so many seconds at least.
        "images-down" => ImagesDown { #[allow(missing_docs)] seconds: f64 }
        /// Images can be encoded again.
        "images-up" => ImagesUp {}
    }
}
