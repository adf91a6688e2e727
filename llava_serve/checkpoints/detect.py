"""Layout and weight files of a checkpoint folder, told from its files without torch."""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

Layout = Literal["hf", "original", "adapter"]

HF_TYPES = ("llava", "llava_next", "llava_onevision", "vipllava", "llava_next_video")
_LFS_MARK = b"version https://git-lfs.github.com/spec/"
_WEIGHTS = ("safetensors", "bin")  # the first that is there is loaded
_STEMS = ("model", "pytorch_model", "adapter_model")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<count>\d+)(?P<end>\..+)")


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint folder and what its files say it is.

    `config` is its config.json, empty without one; `trained_on` is what a part of a model names as
    its base.
    """

    folder: Path
    layout: Layout
    config: dict[str, Any]
    trained_on: str

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))


def detect(folder: Path) -> CheckpointInfo:
    """Say what `folder` holds.

    Raises:
        CheckpointError: it holds no LLaVA checkpoint, or files of it are missing.
    """
    refuse_lfs_pointers(folder)
    path, adapter_path = folder / "config.json", folder / "adapter_config.json"
    adapter = read_json(adapter_path) if adapter_path.exists() else None
    if adapter is None and not path.exists():
        inside = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise CheckpointError(
            f"{folder} is no checkpoint: it has no config.json (it holds {inside}). "
            "Give the folder that holds config.json and the weights."
        )
    config = read_json(path) if path.exists() else {}
    layout, reason = _layout(folder, config, is_adapter=adapter is not None)
    logger.info("%s has the %s layout: %s", folder, layout, reason)
    named = (adapter or {}).get("base_model_name_or_path") or config.get("_name_or_path")
    return CheckpointInfo(folder, layout, config, str(named or "an unnamed model"))


def _layout(folder: Path, config: dict[str, Any], *, is_adapter: bool) -> tuple[Layout, str]:
    """Return the layout and why it is this one."""
    if is_adapter:
        if (folder / "non_lora_trainables.bin").exists():
            return "original", "it holds non_lora_trainables.bin"
        if "mm_vision_tower" in config:
            return "original", "it is an adapter whose config.json has mm_vision_tower"
        return "adapter", "it holds adapter_config.json"
    if "mm_vision_tower" in config:
        return "original", "config.json has mm_vision_tower"
    model_type = str(config.get("model_type", ""))
    if model_type in HF_TYPES and "text_config" in config:
        return "hf", f"config.json has model_type {model_type!r} and a text_config"
    names = ", ".join(config.get("architectures") or [])
    raise CheckpointError(
        f"{folder} is not a LLaVA model: its config.json says model_type "
        f"{model_type or 'nothing'!r}{f' ({names})' if names else ''}. "
        f"Model types that load: {', '.join(HF_TYPES)}; and what LLaVA's own code wrote, which has "
        "mm_vision_tower there. A language model alone can be the --model-base of an adapter."
    )


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a model's weights, all of them there.

    Raises:
        CheckpointError: there are none, a shard that the index or the others' names tell of is
            missing, or the index has no weight_map.
    """
    by_kind = {
        kind: sorted(path for stem in _STEMS for path in folder.glob(f"{stem}[.-]*{kind}"))
        for kind in _WEIGHTS
    }
    kind = next((kind for kind, files in by_kind.items() if files), None)
    if kind is None:
        raise CheckpointError(
            f"{folder} has no weights (*.safetensors or *.bin). "
            "If it came from a hub, the download was not finished: repeat it."
        )
    # The index of the other kind may lie there without its files: a hub download leaves them out.
    index = next(folder.glob(f"*.{kind}.index.json"), None)
    shards = _indexed(index) if index else _counted(by_kind[kind])
    if missing := [shard for shard in shards if not (folder / shard).exists()]:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of the {len(shards)} weight files that "
            f"{index.name if index else 'the names of the others'} "
            f"{'names' if index else 'count'}: {', '.join(missing[:5])}. Repeat the download."
        )
    return [folder / shard for shard in shards]


def _indexed(index: Path) -> list[str]:
    places = read_json(index).get("weight_map")
    files = list(places.values()) if isinstance(places, dict) else []
    if not files or not all(isinstance(file, str) for file in files):
        raise CheckpointError(
            f"{index} has no weight_map from the names of weights to files. Download it again, or "
            "delete it: the weight files say themselves what they hold."
        )
    return sorted(set(files))


def _counted(files: list[Path]) -> list[str]:
    """Return the names of all files there should be: each of several says how many there are.

    Those of missing ones are counted from 1, unless there is a file of number 0.
    """
    names = {path.name for path in files}
    series: dict[tuple[str, str, str], list[str]] = {}
    for found in filter(None, map(_SHARD.fullmatch, sorted(names))):
        key = found["stem"], found["count"], found["end"]
        series.setdefault(key, []).append(found["number"])
    for (stem, count, end), numbers in series.items():
        held = set(map(int, numbers))
        first = 0 if 0 in held else 1
        absent = sorted({*range(first, first + int(count))} - held)
        width = min(map(len, numbers))
        lacking = max(0, int(count) - len(held))
        names |= {f"{stem}-{i:0{width}}-of-{count}{end}" for i in absent[:lacking]}
    return sorted(names)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file is not one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CheckpointError(
            f"{path} cannot be read as JSON: {exc}. Correct it, or download it again."
        ) from exc
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} is JSON, but not an object. Correct it, or download it again."
        )
    return content


def refuse_lfs_pointers(folder: Path) -> None:
    """Look into all files of a checkpoint.

    Raises:
        CheckpointError: git brought the pointer to a file instead of the file.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".bin", ".model", ".json"} and path.is_file():
            with path.open("rb") as file:
                head = file.read(len(_LFS_MARK))
            if head == _LFS_MARK:
                raise CheckpointError(
                    f"{path} is a git-LFS pointer, not the file itself: the clone was made without "
                    f"git-lfs. Run `git lfs install && git lfs pull` in {folder}."
                )
