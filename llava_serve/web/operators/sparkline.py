"""Sparklines: a few numbers as a small SVG curve, with the newest value in words beside it."""

from collections.abc import Sequence

WIDTH, HEIGHT = 72, 20
_EDGE = 2


def sparkline(values: Sequence[float | None], top: float | None = None) -> str:
    """Draw values, the newest at the right; `top` is the highest there can be.

    A value of None leaves a gap. Readers of screens pass over it: the number is beside it.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    highest = max(top or 0.0, *known) or 1.0
    step = (WIDTH - 2 * _EDGE) / (len(values) - 1)
    lines: list[str] = []
    is_open = False
    for n, value in enumerate(values):
        if value is None:
            is_open = False
            continue
        x, y = _EDGE + n * step, HEIGHT - _EDGE - value / highest * (HEIGHT - 2 * _EDGE)
        lines.append(f"{'L' if is_open else 'M'}{x:.1f} {y:.1f}")
        is_open = True
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
        f'<path d="{"".join(lines)}"/></svg>'
    )
