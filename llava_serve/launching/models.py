"""Models of a launch: what `--model` and `--sglang` mean, path, base and name."""

from collections.abc import Sequence
from dataclasses import dataclass

from llava_serve.checkpoints.hub import is_hub_name, name_of
from llava_serve.errors import CommandError
from llava_serve.local_path import local_path
from llava_serve.tiny import CHECKPOINT, ONE_WORD

_FORMS = (
    "Write PATH, PATH=NAME or PATH@BASE=NAME; PATH and BASE are folders or hub names, and what "
    "stands behind the first @ is the base."
)


@dataclass(frozen=True, slots=True)
class Model:
    """One checkpoint to serve; `base` is what an adapter was trained on."""

    path: str
    base: str | None
    name: str


BUNDLED = (
    Model(str(CHECKPOINT), None, "llava-tiny"),
    Model(str(ONE_WORD), str(CHECKPOINT), "llava-tiny-one-word"),
)


@dataclass(frozen=True, slots=True)
class Models:
    """What a launch serves: by PyTorch in a worker, and by SGLang behind one."""

    torch: tuple[Model, ...]
    sglang: tuple[Model, ...]


def models_to_serve(specs: Sequence[str], sglang_specs: Sequence[str] = ()) -> Models:
    """Return the models of all `--model` and `--sglang` flags, or the two that ship without any.

    The same model may stand there several times: its workers share the load.

    Raises:
        CommandError: a spec is malformed, a folder is missing, or two models share a name.
    """
    sglang = tuple(_without_base(spec) for spec in sglang_specs)
    torch = tuple(parse_model(spec) for spec in specs) or (() if sglang else BUNDLED)
    by_name: dict[str, Model] = {}
    for model in (*torch, *sglang):
        other = by_name.setdefault(model.name, model)
        if other != model:
            raise CommandError(
                f"{other.path} and {model.path} would both be served as {model.name!r}",
                "Give one of them another name: PATH=NAME.",
            )
    return Models(torch, sglang)


def parse_model(spec: str, flag: str = "--model") -> Model:
    """Read `PATH`, `PATH=NAME` or `PATH@BASE=NAME`; the name defaults to the path's own.

    Only the last `=` without a `/` behind it begins a name, so folders may have one in theirs.

    Raises:
        CommandError: a part is empty, or a local folder does not exist.
    """
    where, equals, name = spec.rpartition("=")
    if not equals or "/" in name:
        where, name = spec, name_of(spec.partition("@")[0])
    path, at, base = where.partition("@")
    shown = f"{flag} {spec!r}"
    if not (path and name) or (at and not base):
        part = "path" if not path else "base after the @" if name else "name"
        raise CommandError(f"{shown} has an empty {part}", _FORMS)
    return Model(_checked(path, shown), _checked(base, shown) if base else None, name)


def _without_base(spec: str) -> Model:
    model = parse_model(spec, "--sglang")
    if model.base is not None:
        raise CommandError(
            f"--sglang {spec!r}: an adapter is served by --model only",
            "Merge it into its base first, or serve it with --model.",
        )
    return model


def _checked(path: str, shown: str) -> str:
    """Whatever is no hub name must be a folder here."""
    try:
        folder = local_path(path)
        if folder.is_dir():
            return str(folder)
    except OSError as exc:
        reason = f"cannot look at {path}: {exc.strerror or exc}"
        raise CommandError(f"{shown}: {reason}", _FORMS) from exc
    if not is_hub_name(path):
        raise CommandError(f"{shown}: there is no folder {folder}", _FORMS)
    return path
