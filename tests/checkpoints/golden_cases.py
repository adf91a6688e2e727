"""The stored answers of LLaVA's own code, case by case, as tests ask for them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.vision import Item
from llava_serve.request import Conversation, Image, Message, Video

GOLDEN = Path(__file__).parent / "golden"
NEW_TOKENS = 24
# How the reference was fed in these modes, which its stored config does not say.
_ASPECTS = {"pad": "pad", "demo": "square", "list": "square", "vqa": "square"}


@dataclass(frozen=True)
class Golden:
    """One prompt: `key` names it among its case's answers, `aspect` is the flag's value."""

    case: str
    key: str
    checkpoint: str
    base: str | None
    template: str
    aspect: str | None
    images: tuple[str, ...]
    is_video: bool
    turns: tuple[str, ...]
    text: str | None  # as rendered by the reference; None where it built ids directly
    length: int  # positions, feature rows included

    def __str__(self) -> str:
        return f"{self.case[0]}.{self.key}"

    @property
    def flags(self) -> dict[str, Any]:
        base = None if self.base is None else str(GOLDEN / self.case / self.base)
        return {
            "model_path": str(GOLDEN / self.case / self.checkpoint),
            "model_base": base,
            "image_aspect_ratio": self.aspect,
            "device": "cpu",
            "dtype": "float32",
        }

    def load(self) -> LoadedModel:
        return _load(tuple(self.flags.items()))

    def expected(self, what: str) -> Any:
        return _answers(self.case)[f"{self.key}.{what}"]

    @property
    def media(self) -> list[Image | Video]:
        folder = GOLDEN / self.case
        images = [
            Image(PIL.Image.open(folder / name).convert("RGB"), str(folder / name))
            for name in self.images
        ]
        return [Video(tuple(images))] if self.is_video else list(images)

    @property
    def items(self) -> list[Item]:
        """The reference's token ids, with the media where it had them."""
        media = iter(self.media)
        ids = self.expected("input_ids").tolist()
        return [next(media) if token == -200 else token for token in ids]

    @property
    def conversation(self) -> Conversation:
        """The turns as a client sends them: texts and pictures in their order."""
        media = iter(self.media)
        messages = []
        for i, turn in enumerate(self.turns):
            parts: list[str | Image | Video] = []
            for j, text in enumerate(turn.split("<image>")):
                parts += [next(media)] if j else []
                parts += [text] if text else []
            messages.append(Message("assistant" if i % 2 else "user", tuple(parts)))
        return Conversation(tuple(messages))

    @property
    def logits(self) -> torch.Tensor:
        return torch.from_numpy(self.expected("logits"))

    @property
    def greedy(self) -> list[int]:
        return list(self.expected("greedy").tolist())


@cache
def _load(flags: tuple[tuple[str, Any], ...]) -> LoadedModel:
    return load(ModelConfig(**dict(flags)))


@cache
def _answers(case: str) -> dict[str, np.ndarray[Any, Any]]:
    return dict(np.load(GOLDEN / case / "expected.npz"))


def _read() -> Iterator[Golden]:
    for folder in sorted(path for path in GOLDEN.iterdir() if path.is_dir()):
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        for variant in case.get("variants", [case]):
            prefix = f"{variant['name']}." if "variants" in case else ""
            for prompt in variant["prompts"]:
                yield Golden(
                    case=folder.name,
                    key=prefix + prompt["key"],
                    checkpoint=variant["checkpoint"],
                    base=variant.get("model_base"),
                    template=variant["conv_template"],
                    aspect=_ASPECTS.get(prompt.get("mode")),
                    images=tuple(prompt["images"]),
                    is_video=prompt.get("modality") == "video",
                    turns=tuple(prompt["turns"]),
                    text=prompt.get("prompt"),
                    length=prompt["merged_len"],
                )


ALL = tuple(_read())
