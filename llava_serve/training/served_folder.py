"""Served folder: a trained model as files that `--model-path` loads."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from llava_serve.checkpoints import convert
from llava_serve.checkpoints.resolve import PROJECTOR, TRAINABLES
from llava_serve.training.flags import Mode
from llava_serve.training.projector_file import projector_weights
from llava_serve.training.starting_point import StartingPoint

# Beside weights: what a checkpoint in Hugging Face's layout has, and none that training changes.
_SETTINGS = ("*.json", "*.jinja", "*.model", "*.txt")
_CHANGED = ("config.json", "*.index.json", "adapter_config.json", "trainer_state.json")
_INNER = "base_model.model.model."


class ServedFolder:
    """Writes one model; `trained` is the one that the Trainer has, with a LoRA around it or not."""

    def __init__(self, start: StartingPoint, mode: Mode, trained: Any) -> None:
        self._start = start
        self._mode = mode
        self._trained = trained

    def write(self, folder: Path, *, is_last: bool) -> None:
        """Write into `folder`, which is there or not.

        finetune writes a whole model, lora an adapter, pretrain a projector, which in the end is
        one with the whole model where that is of Hugging Face's layout.

        Raises:
            OSError, SafetensorError, RuntimeError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self._mode == "lora":
            self._write_lora(folder)
            return
        if self._mode == "pretrain":
            weights = projector_weights(self._start.loaded.model, self._start.projector)
            torch.save(weights, folder / PROJECTOR)
            self._write_settings(folder, tune_mm_mlp_adapter=True)
        if self._mode == "finetune" or (is_last and self._start.loaded.original is None):
            self._write_whole(folder)

    def _write_whole(self, folder: Path) -> None:
        loaded = self._start.loaded
        set_cache(loaded.model, used=True)
        if loaded.original is not None:
            convert.write(loaded, folder)
        else:
            loaded.model.save_pretrained(folder)
            for path in _settings_in(self._start.checkpoint.folder):
                shutil.copyfile(path, folder / path.name)
        set_cache(loaded.model, used=False)

    def _write_lora(self, folder: Path) -> None:
        if self._start.loaded.original is None:
            self._trained.peft_config["default"].base_model_name_or_path = str(self._start.base)
            self._trained.save_pretrained(folder, save_embedding_layers=False)
            (folder / "README.md").unlink(missing_ok=True)  # peft's form of one, all left blank
            return
        from peft import get_peft_model_state_dict

        layers = get_peft_model_state_dict(self._trained, save_embedding_layers=False)
        renamed = {
            name.replace(f"{_INNER}language_model.", _INNER): weight.detach().cpu().contiguous()
            for name, weight in layers.items()
        }
        save_file(renamed, folder / "adapter_model.safetensors", {"format": "pt"})
        weights = projector_weights(self._start.loaded.model, self._start.projector)
        others = {f"base_model.model.{name}": weight for name, weight in weights.items()}
        torch.save(others, folder / TRAINABLES)
        self._write_adapter_config(folder)
        self._write_settings(folder, tune_mm_mlp_adapter=False)

    def _write_adapter_config(self, folder: Path) -> None:
        """Name layers as LLaVA does, whose tower is not there when its adapter is loaded."""
        config = self._trained.peft_config["default"]
        config.base_model_name_or_path = str(self._start.base)
        config.save_pretrained(folder)
        path = folder / "adapter_config.json"
        settings = json.loads(path.read_text("utf-8"))
        names = settings["target_modules"].rpartition("(")[2].rstrip(")")
        settings |= {"target_modules": names.split("|"), "inference_mode": True}
        _write_json(path, settings)

    def _write_settings(self, folder: Path, *, tune_mm_mlp_adapter: bool) -> None:
        if self._start.settings:
            name = {"_name_or_path": str(self._start.base)}
            told = {"tune_mm_mlp_adapter": tune_mm_mlp_adapter}
            _write_json(folder / "config.json", self._start.settings | name | told)


def set_cache(model: Any, *, used: bool) -> None:
    """Say whether the model keeps keys and values: in training nobody asks for them."""
    for config in (model.config, model.config.get_text_config()):
        config.use_cache = used


def _settings_in(folder: Path) -> Iterator[Path]:
    for pattern in _SETTINGS:
        for path in folder.glob(pattern):
            if not any(path.match(changed) for changed in _CHANGED):
                yield path


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")
