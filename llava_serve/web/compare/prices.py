"""Prices of models per million tokens, as the operator states them, and what an answer cost."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PerMillion = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_LEAST = 0.000_001


class _Stated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Stated):
    """What a million tokens cost: those of a prompt, its pictures included, and those made."""

    input: PerMillion
    output: PerMillion


class Prices(_Stated):
    """The prices of models by their names; what is not there has none."""

    currency: Annotated[str, Field(min_length=1, max_length=8)] = "USD"
    models: dict[str, Price]

    def cost(self, model: str, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return what an answer cost; None where its model has no price."""
        if (price := self.models.get(model)) is None:
            return None
        return (prompt_tokens * price.input + completion_tokens * price.output) / 1e6

    def shown(self, cost: float) -> str:
        """Return a cost in words; what is too small to be written is said to be."""
        if 0 < cost < _LEAST:
            return f"< {_LEAST:f} {self.currency}"
        digits = 2 if cost >= 1 or cost == 0 else 6
        return f"{cost:.{digits}f} {self.currency}"


def read_prices(file: Path) -> Prices:
    """Return the prices in a JSON file.

    Raises:
        SystemExit: it cannot be read, or states no prices.
    """
    try:
        return Prices.model_validate_json(file.read_bytes())
    except OSError as exc:
        raise SystemExit(f"--prices {file} cannot be read: {exc.strerror}") from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise SystemExit(
            f"--prices {file}: {place}: {first['msg']}. It is to hold "
            '{"currency": "USD", "models": {"NAME": {"input": 0.1, "output": 0.4}}}, '
            "each per million tokens."
        ) from exc
