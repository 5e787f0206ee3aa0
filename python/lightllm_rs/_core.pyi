"""The compiled part: the router process."""

__all__ = ["FrameError", "RouterError", "reencode_frame", "run_router"]

class RouterError(Exception):
    """The router process ended with an error; the text is its last words."""

class FrameError(ValueError):
    """A frame that does not decode."""

def run_router(start: bytes) -> None:
    """Runs the router process until the supervisor says stop.

    Args:
        start: an encoded `lightllm_rs.messages.router_start.RouterStart`.

    Raises:
        RouterError: the process has to end; the supervisor has been told why.
    """

def reencode_frame(union: str, frame: bytes) -> bytes:
    """Decodes a frame of the named union (`"PlanMessage"`, say) and encodes it again, for tests of the wire.

    Raises:
        FrameError: the frame does not decode.
        ValueError: there is no such union.
    """
