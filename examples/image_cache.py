"""The cache of images alone: three processes share pictures and what one of them makes of these.

    python examples/image_cache.py

One process owns the shared memory, one plays the visual server (its features of a picture are the histogram of its
bytes), and this one asks for the features of five pictures, some of them twice.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lightllm_rs.cache import CacheClient, CacheGone, Lease, State, Want

FEATURE_LEN = 256 * 4


def encode(endpoint: str) -> None:
    """The visual server: takes pictures as they come, and writes their features in place."""
    client = CacheClient(endpoint, "visual")
    try:
        while True:
            taken = client.take(max_items=8)
            for lease in taken:
                histogram = np.bincount(lease.data, minlength=256).astype(np.float32)
                np.frombuffer(lease.features, dtype=np.float32)[:] = histogram
            client.publish_features(taken)
            print(f"encoded {len(taken)} pictures", flush=True)
    except CacheGone:
        print("the cache manager has ended", flush=True)


def features(client: CacheClient, pictures: list[bytes]) -> list[Lease]:
    """Leases of the features of some pictures, encoded by whoever had them first."""
    wants = [Want(hashlib.blake2b(picture, digest_size=16).digest(), len(picture), FEATURE_LEN) for picture in pictures]
    leases = client.acquire(wants)  # one round trip, however many
    while True:
        ours = [number for number, lease in enumerate(leases) if lease.state == State.WRITE]
        for number in ours:
            leases[number].write_data(pictures[number])  # the only copy
        if ours:
            client.publish_data([leases[number] for number in ours])
        # "write" comes back if another writer died before it was done: then it is for us to write.
        if State.WRITE not in client.wait(leases):
            return leases


def main() -> None:
    """Starts all three, and looks whether the features are right."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "lightllm_rs.cache_manager", directory, "--size", "0.01"]
        manager = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert manager.stdout is not None
        endpoint = manager.stdout.readline().removeprefix("ready: ").strip()
        visual = multiprocessing.get_context("spawn").Process(target=encode, args=(endpoint,))
        visual.start()

        client = CacheClient(endpoint, "example")
        pictures = [Path(__file__).read_bytes() * times for times in (1, 2, 3, 1, 2)]
        leases = features(client, pictures)
        for picture, lease in zip(pictures, leases, strict=True):
            seen = np.frombuffer(lease.features, dtype=np.float32)  # in the shared memory itself
            assert np.array_equal(seen, np.bincount(np.frombuffer(picture, np.uint8), minlength=256))
        stats = client.stats()
        print(f"{stats['queries']} pictures asked for, {stats['encoded']} encoded")
        client.release(leases)
        client.close()

        manager.terminate()
        manager.wait()
        visual.join()


if __name__ == "__main__":
    main()
