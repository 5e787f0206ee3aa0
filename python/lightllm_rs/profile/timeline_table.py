"""A device's time line as text."""

from __future__ import annotations

from collections.abc import Sequence

from lightllm_rs.profile.timeline import Share, Timeline

LONG_GAPS_US = (2.0, 5.0, 20.0, 100.0, 1000.0)
NAMES, NAME_WIDTH = 12, 60


def table(title: str, found: Timeline, names: int = NAMES) -> str:
    """How busy the device was, the gaps by their lengths, and shares by group and by name.

    Args:
        names: kernels that are told apart, the largest first.
    """
    lines = [
        f"{title}: wall {found.wall_us / 1e3:.3f} ms, busy {found.busy_us / 1e3:.3f} ms ({100 * found.busy:.1f} %)",
        f"  gaps: {_gaps(found.gaps_us)}",
        f"  {'group':<{NAME_WIDTH}} {'count':>7} {'total us':>12} {'of wall':>8}",
        *_rows(found.groups(), found.wall_us),
    ]
    by_name = found.names()[:names]
    if by_name:
        lines += [f"  {'largest':<{NAME_WIDTH}} {'count':>7} {'total us':>12} {'of wall':>8}"]
        lines += _rows(by_name, found.wall_us)
    return "\n".join(lines)


def _rows(shares: Sequence[Share], wall_us: float) -> list[str]:
    return [
        f"  {share.name[:NAME_WIDTH]:<{NAME_WIDTH}} {share.count:>7} {share.total_us:>12.1f} "
        f"{100 * share.total_us / wall_us if wall_us else 0.0:>7.1f}%"
        for share in shares
    ]


def _gaps(gaps_us: Sequence[float]) -> str:
    """Time in gaps between two limits: "0.12 ms in 340 below 2 us, ..."."""
    parts = []
    low = 0.0
    for high in (*LONG_GAPS_US, float("inf")):
        inside = [gap for gap in gaps_us if low <= gap < high]
        if inside:
            limit = f"below {high:g} us" if high != float("inf") else f"from {low:g} us"
            parts.append(f"{sum(inside) / 1e3:.3f} ms in {len(inside)} {limit}")
        low = high
    return ", ".join(parts) or "none"
