"""Numbers and truths as the pages and tables of a report write them."""

import json
from collections import Counter
from typing import Any

NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def percent(value: float | None) -> str:
    """Write a fraction, such as 0.714 as `71.4 %`; nothing is a dash."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def points(value: float | None) -> str:
    """Write a difference of two fractions in percentage points, always with its sign."""
    if value is None:
        return NOTHING
    text = f"{abs(100 * value):.1f}"
    sign = "" if float(text) == 0 else _MINUS if value < 0 else "+"
    return sign + text


def percent_range(interval: tuple[float, float] | None) -> str:
    """Write an interval of fractions in percent."""
    return (
        NOTHING if interval is None else f"{100 * interval[0]:.1f}{NOTHING}{100 * interval[1]:.1f}"
    )


def points_range(interval: tuple[float, float] | None) -> str:
    """Write an interval of a difference."""
    return NOTHING if interval is None else f"{points(interval[0])} to {points(interval[1])}"


def metric(value: float | None) -> str:
    """Write a metric of a task: shares to four digits, scores of other scales to one."""
    if value is None:
        return NOTHING
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def seconds(value: float | None) -> str:
    """Write a time, in milliseconds below a tenth of a second."""
    if value is None:
        return NOTHING
    if value < 0.1:
        return f"{1000 * value:.3g} ms"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} s"


def tick(value_s: float) -> str:
    """Write a round time at an axis."""
    return f"{1000 * value_s:g} ms" if value_s < 0.1 else f"{value_s:g} s"


def p_value(value: float) -> str:
    """Write a p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: int) -> str:
    """Write a number of things."""
    return f"{value:,}"


def printable(text: str) -> str:
    """Write a line so that names and messages in it cannot steer a terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def truth_text(truth: Any) -> str:
    """Write the right answer; of several people's answers each once, the most frequent first."""
    if truth is None:
        return "not public"
    if isinstance(truth, str):
        return truth
    if isinstance(truth, list) and truth and all(isinstance(one, str) for one in truth):
        counts = Counter(truth).most_common()
        return ", ".join(f"{text} (x{n})" if n > 1 else text for text, n in counts)
    return json.dumps(truth, ensure_ascii=False)
