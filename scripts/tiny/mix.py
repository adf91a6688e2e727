"""The flag `--mix` of the trainings: how often what is drawn."""

import argparse
import json

from scripts.tiny.conversation import FORM_MIX, SINGLE_MIX


def read_mix(text: str) -> dict[str, float]:
    """Read weights by name, as JSON.

    Raises:
        argparse.ArgumentTypeError: it is no such thing, or a name is neither a kind nor a form.
    """
    try:
        mix = json.loads(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"is no JSON: {exc}") from exc
    if not isinstance(mix, dict) or not all(isinstance(w, int | float) for w in mix.values()):
        raise argparse.ArgumentTypeError('must be weights by name, such as {"shape": 2}')
    if unknown := sorted(set(mix) - {*SINGLE_MIX, *FORM_MIX}):
        raise argparse.ArgumentTypeError(
            f"knows no {', '.join(unknown)}; there are {', '.join([*SINGLE_MIX, *FORM_MIX])}"
        )
    return mix
