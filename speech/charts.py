"""Charts as SVG text, for a page that loads nothing: they scale with it and take its colours; the page's policy."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, inf, log10
from typing import Any

# Units of the view boxes.
WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 16, 50
HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT = 320, 150
SIDE, HEAD, AXIS = 8, 18, 30  # beside, above and below the bars
SHARES_WIDTH, SHARES_PITCH, SHARES_LABEL = 640, 28, 120
MOST_TONES = 12
MOST_BARS = 44
TICKS = 4
MOST_GRID_LINES, MOST_LABELS = 6, 7
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # between grid lines of rates

CHARSET = '<meta charset="utf-8">'


def with_policy(page: str) -> str:
    """A page with a content security policy: no script runs in it, nothing is loaded, its one `<style>` applies.

    So a text of a stranger does nothing, should it ever get past the escaping.
    """
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None, "a page has one <style>, in its head"
    digest = base64.b64encode(hashlib.sha256(style[1].encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; media-src data:; base-uri 'none'; form-action 'none'"
    return page.replace(CHARSET, f'{CHARSET}<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)


def histogram(counts: Sequence[int], bin_width: float, unit: str, first: float = 0.0) -> str:
    """Bars from `first` on, with their range below and the largest count above; "" without any count."""
    if not sum(counts):
        return ""
    last = min(len(counts), MOST_BARS)
    bars = [*counts[:last]]
    bars[-1] += sum(counts[last:])  # the last bar takes what is beyond
    step, tallest = (HISTOGRAM_WIDTH - 2 * SIDE) / len(bars), max(bars)
    baseline = HISTOGRAM_HEIGHT - AXIS
    parts = [f'<line class="grid" x1="{SIDE}" x2="{HISTOGRAM_WIDTH - SIDE}" y1="{baseline}" y2="{baseline}"/>']
    for number, count in enumerate(bars):
        height = (baseline - HEAD) * count / tallest
        low, high = first + number * bin_width, first + (number + 1) * bin_width
        beyond = number == last - 1 and len(counts) > last
        title = f"{low:g} {unit} and more" if beyond else f"{low:g} to {high:g} {unit}"
        parts.append(
            f'<rect class="bar" x="{SIDE + number * step + 0.5:.2f}" y="{baseline - height:.2f}" '
            f'width="{max(step - 1, 0.5):.2f}" height="{height:.2f}"><title>{title}: {count:,}</title></rect>'
        )
    for tick in range(TICKS + 1):
        at = round(len(bars) * tick / TICKS)
        anchor = "start" if tick == 0 else "end" if tick == TICKS else "middle"
        value = first + at * bin_width
        parts.append(f'<text x="{SIDE + at * step:.1f}" y="{baseline + 14}" text-anchor="{anchor}">{value:g}</text>')
    parts.append(f'<text x="{HISTOGRAM_WIDTH / 2}" y="{HISTOGRAM_HEIGHT - 3}" text-anchor="middle">{unit}</text>')
    parts.append(f'<text x="{SIDE}" y="{HEAD - 6}">{tallest:,}</text>')
    return _svg(HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT, f"Clips by {unit}", parts)


def shares(rows: Sequence[tuple[str, Mapping[str, float]]], title: str) -> str:
    """A bar a row of named parts, a name in the same place and tone everywhere; what shares of 1 leave stays empty."""
    if not rows:
        return ""
    tones = {value: tone for tone, value in enumerate(dict.fromkeys(value for _, parts in rows for value in parts))}
    width, height, marks = SHARES_WIDTH - SHARES_LABEL, SHARES_PITCH - 8, []
    for number, (name, parts) in enumerate(rows):
        top, x = number * SHARES_PITCH + 4, float(SHARES_LABEL)
        marks.append(f'<text x="{SHARES_LABEL - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>')
        marks.append(f'<rect class="rest" x="{SHARES_LABEL}" y="{top}" width="{width}" height="{height}"/>')
        ordered = sorted(parts, key=tones.__getitem__)
        for place, value in enumerate(ordered):
            tone = tones[value] if len(tones) <= MOST_TONES else place
            wide = parts[value] * width
            marks.append(
                f'<rect class="part" opacity="{max(0.9 - 0.13 * tone, 0.25):.2f}" x="{x:.1f}" y="{top}" '
                f'width="{max(wide - 1, 0.4):.1f}" height="{height}">'
                f"<title>{escape(value)}: {parts[value]:.1%}</title></rect>"
            )
            if wide > 7 * len(value) + 12:
                marks.append(f'<text class="inside" x="{x + 6:.1f}" y="{top + 14}">{escape(value)}</text>')
            x += wide
    return _svg(SHARES_WIDTH, len(rows) * SHARES_PITCH, title, marks)


def learning_curve(epochs: Sequence[Mapping[str, Any]], base: float | None = None) -> str:
    """Training and dev loss by epoch on a logarithmic scale; "" for fewer than two epochs.

    `base` is the dev loss of the checkpoint that was trained on, a dotted line.
    """
    series = [
        (name, [(epoch["epoch"], epoch[key]) for epoch in epochs if _positive(epoch.get(key))])
        for name, key in (("train", "train_loss"), ("dev", "dev_loss"))
    ]
    points = [point for _, line in series for point in line]
    first, last = (min(x for x, _ in points), max(x for x, _ in points)) if points else (0, 0)
    if first == last:
        return ""
    heights = [y for _, y in points] + ([base] if _positive(base) else [])
    marks = _marks(min(heights), max(heights))
    low, high = log10(marks[0]), log10(marks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * (x - first) / (last - first)
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (log10(y) - low) / (high - low)

    parts = []
    for mark in marks:
        y = place(first, mark)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>')
    if base is not None and _positive(base):
        y = place(first, base)[1]
        parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{y - 4:.1f}" text-anchor="end">dev, before training</text>')
    for number, (name, line) in enumerate(series):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline class="line {name}" points="{path}"/>')
        parts.append(f'<text class="{name}" x="{WIDTH - RIGHT - 60}" y="{TOP + 16 + 24 * number}">{name}</text>')
    for x, y, text in ((LEFT, 22, first), (WIDTH - RIGHT - 6, 22, last), (WIDTH / 2, 40, "epoch")):
        parts.append(f'<text x="{x:g}" y="{HEIGHT - BOTTOM + y}" text-anchor="middle">{text}</text>')
    return _svg(WIDTH, HEIGHT, "Loss by epoch", parts)


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0.0 < value < inf


def _marks(smallest: float, largest: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from at most `smallest` to at least `largest`; powers alone if those are many."""
    powers = range(floor(log10(smallest)), ceil(log10(largest)) + 1)
    steps = (1,) if len(powers) > 4 else (1, 2, 5)
    marks = [step * 10.0**power for power in powers for step in steps]
    start = max(position for position, mark in enumerate(marks) if mark <= smallest)
    end = min((position for position, mark in enumerate(marks) if mark >= largest), default=len(marks) - 1)
    return marks[start : max(end, start + 1) + 1]


def rate_bar(rate: float, interval: Sequence[float] | None, largest: float) -> str:
    """One error rate as a bar, its interval as a whisker across the bar's end."""
    scale = 100.0 / largest if largest > 0 else 0.0
    parts = [f'<rect class="bar" x="0" y="3" width="{min(100.0, rate * scale):.2f}" height="8"/>']
    if interval is not None:
        low, high = (min(100.0, limit * scale) for limit in interval)
        parts.append(f'<line class="whisker" x1="{low:.2f}" x2="{high:.2f}" y1="7" y2="7"/>')
        parts += [f'<line class="whisker" x1="{x:.2f}" x2="{x:.2f}" y1="3.5" y2="10.5"/>' for x in (low, high)]
    return _svg(100, 14, f"{rate:.1%}", parts, stretch=True)


def rates_over_versions(rows: Sequence[tuple[str, float, Sequence[float] | None, str]], name: str) -> str:
    """An error rate of each version, oldest first: (label, rate, interval, kind), each a point with its whisker.

    Kinds are classes of the page's style (`crowned`, `this` or none); the labels of the first, the last and some
    between stand below. "" for fewer than two versions.
    """
    if len(rows) < 2:
        return ""
    highest = max(limit for _, rate, interval, _ in rows for limit in (rate, *(interval or ()))) or 1.0
    step = next(step for step in (*_STEPS, highest) if highest / step <= MOST_GRID_LINES)
    top = step * ceil(highest / step - 1e-9)
    pitch, floor_y = (WIDTH - LEFT - RIGHT) / len(rows), HEIGHT - BOTTOM

    def y(rate: float) -> float:
        return floor_y - (floor_y - TOP) * rate / top

    parts = []
    for line in range(round(top / step) + 1):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(line * step):.1f}" ')
        parts.append(f'y2="{y(line * step):.1f}"/><text x="{LEFT - 6}" y="{y(line * step) + 4:.1f}" ')
        parts.append(f'text-anchor="end">{100 * line * step:.3g} %</text>')
    places = [(LEFT + (number + 0.5) * pitch, rate) for number, (_, rate, _, _) in enumerate(rows)]
    path = " ".join(f"{x:.1f},{y(rate):.1f}" for x, rate in places)
    parts.append(f'<polyline class="line train" points="{path}"/>')
    every = ceil(len(rows) / MOST_LABELS)
    for number, ((x, rate), (label, _, interval, kind)) in enumerate(zip(places, rows, strict=True)):
        if interval:
            parts.append(f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{y(interval[0]):.1f}" ')
            parts.append(f'y2="{y(interval[1]):.1f}"/>')
        parts.append(f'<circle class="point {kind}" cx="{x:.1f}" cy="{y(rate):.1f}" r="5">')
        parts.append(f"<title>{escape(label)}: {rate:.2%}</title></circle>")
        if (len(rows) - 1 - number) % every == 0:
            shown = escape(label[:10])
            parts.append(f'<text x="{x:.1f}" y="{floor_y + 22}" text-anchor="middle">{shown}</text>')
    return _svg(WIDTH, HEIGHT, f"{name} over versions", parts)


def _svg(width: float, height: float, title: str, parts: Sequence[str], *, stretch: bool = False) -> str:
    ratio = ' preserveAspectRatio="none"' if stretch else ""
    box, content = f"0 0 {width:g} {height:g}", "".join(parts)
    return f'<svg viewBox="{box}" role="img"{ratio}><title>{escape(title)}</title>{content}</svg>'
