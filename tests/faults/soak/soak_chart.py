"""The samples of a soak as one picture: SVG, a panel a figure and a column a command."""

from collections.abc import Mapping, Sequence
from html import escape

from tests.faults.soak.process_tree import Sample

PANELS = {
    "memory_mb": "memory of their own, MB",
    "resident_mb": "with mapped files, MB",
    "descriptors": "descriptors",
    "threads": "threads",
    "temporary": "unfinished and temporary files",
}
WIDTH, HEIGHT, LEFT, TOP, GAP = 420, 90, 70, 50, 44
POINTS = 400  # of a curve


def chart(runs: Mapping[str, Sequence[Sample]]) -> str:
    """A column a command, a panel a figure, seconds from left to right."""
    parts = []
    for column, (name, samples) in enumerate(runs.items()):
        left = LEFT + column * (WIDTH + LEFT)
        parts.append(f'<text x="{left}" y="22" font-size="14">{escape(name)}</text>')
        for row, (field, label) in enumerate(PANELS.items()):
            parts.append(_panel(samples, field, label, left, TOP + row * (HEIGHT + GAP)))
    width, height = LEFT + len(runs) * (WIDTH + LEFT), TOP + len(PANELS) * (HEIGHT + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="{width}" height="{height}" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _panel(samples: Sequence[Sample], field: str, label: str, left: int, top: int) -> str:
    kept = samples[:: max(1, len(samples) // POINTS)]
    most = max([1.0, *(float(getattr(sample, field)) for sample in samples)])
    end = max([1.0, *(sample.seconds for sample in samples)])
    points = " ".join(
        f"{left + WIDTH * sample.seconds / end:.1f},{top + HEIGHT * (1 - getattr(sample, field) / most):.1f}"
        for sample in kept
    )
    bottom = top + HEIGHT
    return (
        f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>'
        f'<polyline points="{points}" fill="none" stroke="#1565c0"/>'
        f'<text x="{left - 6}" y="{top + 10}" text-anchor="end">{most:,.0f}</text>'
        f'<text x="{left - 6}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{left}" y="{top - 5}">{escape(label)}</text>'
        f'<text x="{left + WIDTH}" y="{bottom + 12}" text-anchor="end">{end:,.0f} s</text>'
    )
