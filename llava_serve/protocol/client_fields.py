"""Client fields: what a request says of itself and not to the model, as an audit keeps it."""

import json
from collections.abc import Mapping
from typing import Any

_NAMES = ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user")
MOST_CHARACTERS = 12_000  # as JSON: OpenAI's largest `metadata`, and some more


def client_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return these fields of a request as it was sent, those that are null left out.

    In place of a field that would go beyond the limit together with those before it stands how long
    it is.
    """
    kept: dict[str, Any] = {}
    left = MOST_CHARACTERS
    for name in _NAMES:
        if (value := body.get(name)) is None:
            continue
        if (length := len(json.dumps(value, ensure_ascii=False))) > left:
            kept[name] = f"({length:,} characters, which is too many to keep)"
        else:
            kept[name] = value
            left -= length
    return kept
