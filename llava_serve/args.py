"""Command-line flags from a frozen dataclass, and the checks that such a dataclass makes.

A field is `Annotated[type, "help"]`; further spellings of its flag may follow the help.
"""

import argparse
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import MISSING, Field, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

Config = TypeVar("Config")


def parse(
    cls: type[Config],
    argv: Sequence[str] | None = None,
    *,
    program: str | None = None,
    hint: str = "",
) -> Config:
    """Read `cls` from `argv`, by default the process's own; a bad value exits with code 2.

    `program` is what the usage calls the command, by default as it was started, and `hint` is said
    of a flag that is unknown.
    """
    parser = argparse.ArgumentParser(
        prog=program or _started_as(),
        description=cls.__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):  # type: ignore[arg-type]
        kind, help_text, *others = get_args(hints[field.name])
        options = _options(field, kind)
        parser.add_argument(
            flag_of(field.name), *others, dest=field.name, help=help_text, **options
        )
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    values = vars(known)
    try:
        return cls(
            **{k: tuple(v) if isinstance(v, list | _Values) else v for k, v in values.items()}
        )
    except ValueError as exc:
        parser.error(str(exc))


def _options(field: Field[Any], kind: Any) -> dict[str, Any]:
    if kind is bool:
        return {"action": "store_true"}
    required = field.default is MISSING and field.default_factory is MISSING
    # The help says of each flag what its default is, which None says nothing of.
    is_told = not required and field.default is not None
    options: dict[str, Any] = {"default": field.default if is_told else argparse.SUPPRESS}
    options["required"] = required
    if get_origin(kind) is tuple:  # tuple[str, ...]: several values, or the flag several times
        if not required:
            options["default"] = _Values(options["default"])
        return options | {"action": _Collect, "nargs": "+", "type": get_args(kind)[0]}
    if get_origin(kind) in (Union, UnionType):  # a Literal or None is one of the first kind
        (kind,) = (arm for arm in get_args(kind) if arm is not NoneType)
    if get_origin(kind) is Literal:
        return options | {"choices": get_args(kind)}
    return options | {"type": kind}


class _Values(tuple[Any, ...]):
    """The default of a flag that may be repeated, as the help shows it."""

    def __str__(self) -> str:
        return " ".join(map(str, self)) or "none"


class _Collect(argparse.Action):
    """Collects the values of a flag that may be repeated; they replace the default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add `values`."""
        before = getattr(namespace, self.dest, None)
        before = before if isinstance(before, list) else []  # the default is a tuple
        setattr(namespace, self.dest, [*before, *(values or ())])


def _started_as() -> str | None:
    """Return the command line of a module that runs as a program; None leaves it to argparse."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec is not None else None


def flag_of(name: str) -> str:
    """Return the flag of a field."""
    return "--" + name.replace("_", "-")


def require_positive(config: object, *names: str) -> None:
    """Raises: ValueError, when a field of `config` is given and not above 0."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:  # nor is NaN
            raise ValueError(f"{flag_of(name)} must be above 0, not {value}")


def require_not_negative(config: object, *names: str) -> None:
    """Raises: ValueError, when a field of `config` is below 0."""
    for name in names:
        if getattr(config, name) < 0:
            raise ValueError(f"{flag_of(name)} must not be negative")


def require_defaults(config: Any, names: Collection[str], reason: str) -> None:
    """Raises: ValueError, when a field has another value than its default, to no effect."""
    for field in fields(config):
        if field.name in names and getattr(config, field.name) != field.default:
            raise ValueError(f"{flag_of(field.name)} has no effect {reason}")


def require_port(port: int) -> None:
    """Raises: ValueError, when `port` is no port number."""
    if not 0 < port < 65536:
        raise ValueError(f"--port must be from 1 to 65535, not {port}")


def names_of(listed: str) -> tuple[str, ...]:
    """Split a comma-separated list."""
    return tuple(filter(None, map(str.strip, listed.split(","))))


def addresses_of(given: Iterable[str]) -> tuple[str, ...]:
    """Return addresses without the slash behind them, each once; each given may be a list."""
    return tuple(dict.fromkeys(name.rstrip("/") for names in given for name in names_of(names)))


def require_names(names: Iterable[str]) -> None:
    """Raises: ValueError, when one of `names` is no host name."""
    for name in names:
        if name != "*" and not re.fullmatch(r"\.?[\w-]+(\.[\w-]+)*\.?", name):
            raise ValueError(
                f"--allowed-hosts takes host names without scheme and port, and {name!r} is none"
            )


def require_origins(origins: Iterable[str]) -> None:
    """Raises: ValueError, when one of `origins` is not what a browser would send as `Origin`."""
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+", origin.lower()):
            raise ValueError(
                "--cors-origin takes origins, such as https://chat.example.com or "
                f"http://localhost:3000, and {origin!r} is none"
            )


def is_http(address: str) -> bool:
    """Tell whether a text is an http(s) address whose host and port there can be."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:  # brackets without an IPv6 address, a port or a part of a name too large
        return False
    return parts.scheme in ("http", "https") and bool(host) and port != 0


def require_http(config: object, *names: str) -> None:
    """Raises: ValueError, when a field of `config` is given and no http(s) address, or several."""
    for name in names:
        value = getattr(config, name)
        addresses = addresses_of(value) if isinstance(value, tuple) else (value,)
        for address in addresses:
            if address is not None and not is_http(address):
                flag = flag_of(name)
                raise ValueError(
                    f"{flag} must be an address like http://host:port, not {address!r}"
                )


def bytes_of(size: str) -> int:
    """Read a size of memory such as 20GiB or 8000MB.

    Raises:
        ValueError: it is none.
    """
    units = {"MB": 10**6, "MIB": 2**20, "GB": 10**9, "GIB": 2**30}
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([GM]I?B)", size.strip().upper())
    if found is None or not float(found[1]):
        raise ValueError(f"--max-gpu-memory takes a size like 20GiB or 8000MB, not {size!r}")
    return int(float(found[1]) * units[found[2]])
