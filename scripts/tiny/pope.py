"""Small POPE that ships: is this colored shape in the picture? In the files of POPE and of LLaVA.

Its categories differ in what is asked for in vain: at `random` anything, at `popular` what most
pictures show, at `adversarial` a color and a shape of the picture that do not belong together.

Source: https://github.com/AoiDragon/POPE (the categories and the authors' files);
haotian-liu/LLaVA@c121f04 llava/eval/eval_pope.py (a question's id must tell its category)
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from PIL import Image

from llava_serve.evaluation.tasks.pope import FIRST_IDS
from llava_serve.evaluation.tasks.question_line import SHORT_ANSWER
from llava_serve.tiny import POPE
from scripts.tiny.scenes import random_scene
from scripts.tiny.turns import with_article
from scripts.tiny.world import COLORS, SHAPES, Scene, Size, draw

_PICTURES = 30
_EACH = 2  # questions of a picture with the answer yes, and as many with no
_SIZES: tuple[Size, ...] = ((144, 144), (176, 132), (132, 176), (208, 120))

Shown = frozenset[tuple[str, str]]  # (color, shape) of the things in one picture
Absent = Callable[[Random, Shown], list[tuple[str, str]]]


def write_pope(folder: Path) -> None:
    """Write the pictures, the labels of each category, and LLaVA's question file."""
    rng = Random("pope")
    scenes = [_scene(rng, _SIZES[i % len(_SIZES)]) for i in range(_PICTURES)]
    names = [f"drawn_{i + 1:06}.png" for i in range(_PICTURES)]
    for home in ("val2014", "coco"):
        (folder / home).mkdir(parents=True, exist_ok=True)
    for i, (scene, name) in enumerate(zip(scenes, names, strict=True)):
        image = draw(scene, _SIZES[i % len(_SIZES)])
        small = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
        small.save(folder / "val2014" / name, optimize=True)
    shown = [_shown(scene) for scene in scenes]
    lines: list[dict[str, object]] = []
    for category, absent in _ways(shown).items():
        labels = _labels(Random(f"pope {category}"), dict(zip(names, shown, strict=True)), absent)
        _write(folder / "coco" / f"coco_pope_{category}.json", labels)
        for label in labels:
            line = {"question_id": FIRST_IDS[category] + int(str(label["question_id"]))}
            text = f"{label['text']}{SHORT_ANSWER}"
            lines.append(line | {"image": label["image"], "text": text, "category": category})
    _write(folder / "llava_pope_test.jsonl", lines)


def _scene(rng: Random, size: Size) -> Scene:
    while len(_shown(scene := random_scene(rng, size, (2, 4), smallest=0.12, numbers=0.0))) < _EACH:
        pass
    return replace(scene, smooth=True, quality=0)


def _shown(scene: Scene) -> Shown:
    return frozenset((thing.color, thing.shape) for thing in scene.shapes)


def _ways(pictures: list[Shown]) -> dict[str, Absent]:
    """Return by category, in the order of LLaVA's file, how to choose what is not there."""
    everything = [(color, shape) for color in COLORS for shape in SHAPES]
    often = Counter(thing for shown in pictures for thing in sorted(shown))

    def popular(_: Random, shown: Shown) -> list[tuple[str, str]]:
        return [thing for thing, _ in often.most_common() if thing not in shown][:_EACH]

    def anything(rng: Random, shown: Shown) -> list[tuple[str, str]]:
        return rng.sample([thing for thing in everything if thing not in shown], _EACH)

    def adversarial(rng: Random, shown: Shown) -> list[tuple[str, str]]:
        mixed = {(color, shape) for color, _ in shown for _, shape in shown} - shown
        likely = rng.sample(sorted(mixed), min(_EACH, len(mixed)))
        return likely + anything(rng, shown | mixed)[: _EACH - len(likely)]

    return {"adversarial": adversarial, "random": anything, "popular": popular}


def _labels(rng: Random, pictures: dict[str, Shown], absent: Absent) -> list[dict[str, object]]:
    labels: list[dict[str, object]] = []
    for image, shown in pictures.items():
        present = rng.sample(sorted(shown), _EACH)
        for pair in zip(present, absent(rng, shown), strict=True):
            for (color, shape), label in zip(pair, ("yes", "no"), strict=True):
                labels.append(
                    {
                        "question_id": len(labels) + 1,
                        "image": image,
                        "text": f"Is there {with_article(f'{color} {shape}')} in the picture?",
                        "label": label,
                    }
                )
    return labels


def _write(path: Path, lines: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=POPE, help="folder to write to")
    write_pope(parser.parse_args().output)


if __name__ == "__main__":
    main()
