"""A frozen dataclass becomes a command line: name, type, default and help are written once."""

import argparse
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


@dataclass(frozen=True, slots=True)
class Also:
    """Further spellings of a flag, in `Annotated[type, "help", Also("--other")]`."""

    spellings: tuple[str, ...]

    def __init__(self, *spellings: str) -> None:
        object.__setattr__(self, "spellings", spellings)


def parse(
    cls: type[Config],
    argv: Sequence[str] | None = None,
    *,
    program: str | None = None,
    hint: str = "",
) -> Config:
    """Read `cls` from `argv`, by default the process's own; a bad value exits with code 2.

    `program` is what the usage calls the command, and `hint` is said of a flag that is unknown.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=cls.__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):  # type: ignore[arg-type]
        kind, help_text, *rest = get_args(hints[field.name])
        spellings = ["--" + field.name.replace("_", "-")]
        spellings += [name for also in rest if isinstance(also, Also) for name in also.spellings]
        parser.add_argument(*spellings, dest=field.name, help=help_text, **_options(field, kind))
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    values = vars(known)
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except ValueError as exc:
        parser.error(str(exc))


def _options(field: Field[Any], kind: Any) -> dict[str, Any]:
    if kind is bool:
        return {"action": "store_true"}
    required = field.default is MISSING and field.default_factory is MISSING
    options: dict[str, Any] = {"required": True} if required else {"default": field.default}
    if get_origin(kind) is tuple:  # tuple[str, ...]: several values, or the flag several times
        options |= {"default": [] if required else [*field.default]}  # type: ignore[misc]
        return options | {"action": "extend", "nargs": "+", "type": get_args(kind)[0]}
    if isinstance(kind, UnionType):
        (kind,) = (arm for arm in get_args(kind) if arm is not NoneType)
    if get_origin(kind) is Literal:
        return options | {"choices": get_args(kind)}
    return options | {"type": kind}
