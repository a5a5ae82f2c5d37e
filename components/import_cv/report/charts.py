"""Histograms as SVG text, for a page that loads nothing: they scale with it and take its colours."""

from collections.abc import Sequence

WIDTH, HEIGHT = 320, 150  # units of the view box
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 18, 30
MOST_BARS = 44
TICKS = 4


def histogram(counts: Sequence[int], bin_width: float, unit: str) -> str:
    """Bars with their range below and the largest count above; "" without any count."""
    if not sum(counts):
        return ""
    last = min(len(counts), MOST_BARS)
    bars = [*counts[:last]]
    bars[-1] += sum(counts[last:])  # the last bar takes what is beyond
    step, tallest = (WIDTH - LEFT - RIGHT) / len(bars), max(bars)
    floor = HEIGHT - BOTTOM
    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>']
    for number, count in enumerate(bars):
        height = (floor - TOP) * count / tallest
        low, high = number * bin_width, (number + 1) * bin_width
        beyond = number == last - 1 and len(counts) > last
        title = f"{low:g} {unit} and more" if beyond else f"{low:g} to {high:g} {unit}"
        parts.append(
            f'<rect class="bar" x="{LEFT + number * step + 0.5:.2f}" y="{floor - height:.2f}" '
            f'width="{max(step - 1, 0.5):.2f}" height="{height:.2f}"><title>{title}: {count:,}</title></rect>'
        )
    for tick in range(TICKS + 1):
        at = round(len(bars) * tick / TICKS)
        anchor = "start" if tick == 0 else "end" if tick == TICKS else "middle"
        parts.append(
            f'<text x="{LEFT + at * step:.1f}" y="{floor + 14}" text-anchor="{anchor}">{at * bin_width:g}</text>'
        )
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 3}" text-anchor="middle">{unit}</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 6}">{tallest:,}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Clips by {unit}">' + "".join(parts) + "</svg>"
