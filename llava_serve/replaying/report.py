"""Report of a check: a table for people, or one JSON object for programs."""

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llava_serve.replaying.drift import Drift

_SHOWN = 60  # characters of an answer


def as_json(drifts: Sequence[Drift], model: str, tolerance: float) -> str:
    """Return the report as JSON; what is infinite is null there."""
    return json.dumps(
        {
            "model": model,
            "tolerance": tolerance,
            "exceeded": [one.name for one in drifts if one.exceeds(tolerance)],
            "answers": [_described(one) for one in drifts],
        },
        allow_nan=False,
    )


def _described(drift: Drift) -> dict[str, Any]:
    return {
        "name": drift.name,
        "same_words": drift.first_difference is None,
        "first_difference": drift.first_difference,
        "max_logprob_difference": _finite(drift.max_logprob),
        "mean_logprob_difference": _finite(drift.mean_logprob),
        "mean_kl": drift.mean_kl,
        "prompt_tokens": drift.prompt_tokens,
        "before": drift.before,
        "after": drift.after,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def print_table(
    console: Console, drifts: Sequence[Drift], model: str, recorded: str, tolerance: float
) -> None:
    """Print a row for each answer, and what follows from all of them."""
    console.print(Text(f"{model} against {recorded}; differences of log-probabilities in nats"))
    table = Table("request", "words", "max", "mean", "KL", "")
    for one in drifts:
        words = "same" if one.first_difference is None else f"from token {one.first_difference}"
        kl = "" if one.mean_kl is None else f"{one.mean_kl:.1e}"
        numbers = (f"{one.max_logprob:.1e}", f"{one.mean_logprob:.1e}", kl)
        table.add_row(Text(one.name), words, *numbers, "moved" if one.exceeds(tolerance) else "")
    console.print(table)
    for one in drifts:
        if one.prompt_tokens is not None:
            before, after = one.prompt_tokens
            console.print(Text(f"{one.name}: the prompt has {after} tokens, and had {before}"))
        if one.first_difference is not None:
            console.print(Text(f"{one.name}: {_cut(one.before)} -> {_cut(one.after)}"))
    moved = sum(one.exceeds(tolerance) for one in drifts)
    most = max(one.max_logprob for one in drifts)
    verdict = f"{moved} of {len(drifts)} answers moved" if moved else "no answer moved"
    console.print(f"{verdict}; tolerance: {tolerance:g} nats, largest difference: {most:.2g}")


def _cut(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
