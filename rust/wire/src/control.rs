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
    }
}
