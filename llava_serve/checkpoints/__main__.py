"""The commands `python -m llava_serve.checkpoints inspect PATH` and `... convert PATH OUT`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from llava_serve import logs
from llava_serve.args import parse
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError
from llava_serve.logs import replace_unprintable

_INSPECT = "python -m llava_serve.checkpoints inspect PATH"
_CONVERT = "python -m llava_serve.checkpoints convert PATH OUT"
_USAGE = f"usage: {_INSPECT} [flags]\n       {_CONVERT} [flags]\nEach has --help."

_SIZES = ("336x336", "1024x768")


@dataclass(frozen=True, kw_only=True)
class PartConfig:
    model_base: Annotated[str | None, "folder or hub name an adapter was trained on"] = None
    image_aspect_ratio: Annotated[
        str | None, "how pictures are fitted instead of as the config says"
    ] = None


@dataclass(frozen=True, kw_only=True)
class InspectConfig(PartConfig):
    """Say what a checkpoint is, which template it gets and why, and what memory it takes."""

    conv_mode: Annotated[str | None, "conversation template to use instead of its own"] = None
    picture: Annotated[
        tuple[str, ...], "count image tokens for pictures of this size; default: a few sizes"
    ] = ()
    slots: Annotated[int, "answers that are made at once, of full contexts"] = 16


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(PartConfig):
    """Write a checkpoint of LLaVA's original layout in Hugging Face's."""

    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], "precision; auto: as it is stored"
    ] = "auto"


def main() -> None:
    replace_unprintable()
    logs.configure("warning")
    try:
        match sys.argv[1:]:
            case ["inspect", "-h" | "--help"]:
                parse(InspectConfig, ["--help"], program=_INSPECT)
            case ["convert", "-h" | "--help"]:
                parse(ConvertConfig, ["--help"], program=_CONVERT)
            case ["inspect", path, *flags]:
                _inspect(path, parse(InspectConfig, flags, program=_INSPECT))
            case ["convert", path, out, *flags] if not out.startswith("-"):
                _convert(path, Path(out), parse(ConvertConfig, flags, program=_CONVERT))
            case ["-h" | "--help"]:
                sys.stdout.write(_USAGE + "\n")
            case ["convert", *_]:
                _fail(f"convert needs PATH, and OUT for the new folder\n{_USAGE}")
            case _:
                _fail(_USAGE)
    except CheckpointError as exc:
        _fail(exc.message)


def _fail(message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    raise SystemExit(2)


def _inspect(path: str, config: InspectConfig) -> None:
    from llava_serve.checkpoints.inspection import inspect, parse_size
    from llava_serve.checkpoints.resolve import resolve

    sizes = [parse_size(text) for text in config.picture or _SIZES]
    checkpoint = resolve(path, config.model_base)
    summary = inspect(checkpoint, config.conv_mode, config.image_aspect_ratio, sizes)
    sys.stdout.writelines(line + "\n" for line in summary.lines(config.slots))


def _convert(path: str, out: Path, config: ConvertConfig) -> None:
    from llava_serve.checkpoints.convert import convert

    settings = ModelConfig(
        model_path=path,
        model_base=config.model_base,
        image_aspect_ratio=config.image_aspect_ratio,
        dtype=config.dtype,
    )
    loaded = convert(settings, out)
    sys.stdout.write(f"{out} holds {path} as {type(loaded.model).__name__}\n")


if __name__ == "__main__":
    main()
