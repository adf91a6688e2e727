"""Options of a model in a Ray cluster: how many replicas, and what each of them takes.

They stand behind a model's name: `PATH=NAME:replicas=4:gpus=1`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llava_serve.errors import CommandError
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.models import Model, models_to_serve
from llava_serve.local_path import local_path

_TORCH = ("replicas", "min", "max", "gpus", "cpus")
_SGLANG = ("replicas", "min", "max", "tp", "cpus")
_OPTION = r":[a-z_-]+=[^:=/@]*"
_WITH_OPTIONS = re.compile(rf"(.*?)((?:{_OPTION})+)", re.DOTALL)
_EXAMPLES = (
    "Write PATH=NAME:replicas=4:gpus=1, or PATH=NAME:min=1:max=4 for as many as the waiting line "
    "needs."
)


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """What a spec says of its replicas: `least` to `most` of them; None is left to launch."""

    least: int = 1
    most: int = 1
    gpus: float | None = None
    cpus: float = 1
    tp: int | None = None


@dataclass(frozen=True, slots=True)
class PlacedModel:
    """A model whose replicas Ray places; the ports of its replicas begin `first_port` higher."""

    model: Model
    is_sglang: bool
    options: ReplicaOptions
    first_port: int = 0

    @property
    def names(self) -> list[str]:
        """The names of all replicas that there may be."""
        name = self.model.name
        return [name, *(f"{name}#{number}" for number in range(2, self.options.most + 1))]


def placed_models(config: LaunchConfig) -> tuple[PlacedModel, ...]:
    """Return the models of `--model` and `--sglang` with their options.

    Raises:
        CommandError: an option is wrong, or what `models_to_serve` raises.
    """
    torch = [_split(spec, "--model", _TORCH) for spec in config.model]
    sglang = [_split(spec, "--sglang", _SGLANG) for spec in config.sglang]
    models = models_to_serve([spec for spec, _ in torch], [spec for spec, _ in sglang])
    given = [options for _, options in torch] or [ReplicaOptions() for _ in models.torch]
    given += [options for _, options in sglang]
    placed: list[PlacedModel] = []
    for model, options in zip((*models.torch, *models.sglang), given, strict=True):
        is_sglang = len(placed) >= len(models.torch)
        first_port = sum(other.options.most for other in placed)
        new = PlacedModel(model, is_sglang, options, first_port)
        taken = {name for other in placed for name in other.names}
        if same := next((name for name in new.names if name in taken), None):
            raise CommandError(
                f"with --ray a replica named {same!r} may stand there once: replicas of a model "
                "are named NAME, NAME#2 and so on",
                f"Name the model once, or give one another name. {_EXAMPLES}",
            )
        placed.append(new)
    return tuple(placed)


def refuse_options(specs: Sequence[str]) -> None:
    """Raises: CommandError, when a spec has options that only Ray can heed."""
    for spec in specs:
        _, options = _separated(spec)
        known = [key for key, _ in options if key in {*_TORCH, *_SGLANG}]
        if known:
            raise CommandError(
                f"{spec!r}: {known[0]}= has no effect without --ray",
                "Add --ray auto on a machine of a Ray cluster, or name the model several times to "
                "start several workers of it here.",
            )


def _split(spec: str, flag: str, known: Sequence[str]) -> tuple[str, ReplicaOptions]:
    """Return a spec without its options, and those."""
    bare, pairs = _separated(spec)
    shown, values = f"{flag} {spec!r}", dict(pairs)
    for key, _ in pairs:
        if key not in known:
            reason = f"there is no option {key!r}; there are {', '.join(known)}"
            raise CommandError(f"{shown}: {reason}", _EXAMPLES)
    if len(values) < len(pairs):
        raise CommandError(f"{shown}: an option stands there twice", _EXAMPLES)
    if "replicas" in values and values.keys() & {"min", "max"}:
        raise CommandError(f"{shown}: replicas= goes without min= and max=", _EXAMPLES)
    number = _count(shown, values, "replicas")
    least = number or _count(shown, values, "min") or 1
    most = number or _count(shown, values, "max") or least
    if least > most:
        raise CommandError(f"{shown}: min={least} is above max={most}", _EXAMPLES)
    gpus, cpus = (_amount(shown, values, key) for key in ("gpus", "cpus"))
    tp = _count(shown, values, "tp")
    return bare, ReplicaOptions(least, most, gpus, 1 if cpus is None else cpus, tp)


def _separated(spec: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a spec without what looks like options, and those; a folder's name may, too."""
    found = _WITH_OPTIONS.fullmatch(spec)
    if found is None or _is_folder(spec.rpartition("=")[0]):
        return spec, []
    pairs = [option.split("=") for option in found[2][1:].split(":")]
    return found[1], [(key, value) for key, value in pairs]


def _is_folder(path: str) -> bool:
    try:
        return local_path(path.partition("@")[0]).is_dir()
    except OSError:
        return False


def _count(shown: str, values: Mapping[str, str], key: str) -> int | None:
    if (text := values.get(key)) is None:
        return None
    if not re.fullmatch("[0-9]{1,4}", text) or not int(text):
        raise CommandError(
            f"{shown}: {key} must be a whole number above 0, not {text!r}", _EXAMPLES
        )
    return int(text)


def _amount(shown: str, values: Mapping[str, str], key: str) -> float | None:
    """Read what Ray takes: a fraction of one, or a whole number."""
    if (text := values.get(key)) is None:
        return None
    amount = float(text) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", text) else math.nan
    if not (amount < 1 or amount.is_integer()):
        wanted = "a whole number, or a part of one like 0.5"
        raise CommandError(f"{shown}: {key} must be {wanted}, not {text!r}", _EXAMPLES)
    return amount
