"""Equal seeds draw equal images and texts, in any version: reported figures stay comparable.

The digests hold for the pinned Pillow, which prints the numbers and compresses the JPEGs.
"""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from llava_serve.tiny import CHECKPOINT, EXAMPLES
from scripts.tiny.batch import TrainingBatch, collate, encode
from scripts.tiny.dialogue import Dialogue, random_dialogue
from scripts.tiny.exam import REFUSAL_KINDS, VISUAL_KINDS, draw_exam
from scripts.tiny.examples import draw_examples
from scripts.tiny.recipe import FORM_MIX, Recipe, training_size
from scripts.tiny.stream import TileBatches

# By form: of the texts, and of the images.
FORMS: dict[str, tuple[str, str]] = {
    "single": ("c7e7e85d61dcf084", "c9dff30f93504f30"),
    "pair": ("ed24fb215eade82e", "bfc59016adba82c6"),
    "change": ("ecd9c264a88ab863", "f4eef8a8e91830af"),
    "clip": ("f714bc84771e2a7e", "5380bcfc127c6204"),
    "later": ("2ae82c3193c05cc8", "8df5644f1b24bbd6"),
    "number": ("bdfd07e3e818fe33", "f77463d38f5cce28"),
    "strange": ("980347a6329c87cc", "80f01f7bb110b1fa"),
    "nothing": ("1db4b9e5c5c93f4b", "e3b0c44298fc1c14"),
    "beyond": ("9442196178ec0455", "e3b0c44298fc1c14"),
}
# By kind, as an exam asks it.
KINDS: dict[str, tuple[str, str]] = {
    "color": ("52490b5226f22810", "626bfa7dd8358705"),
    "shape": ("45b0dc885189e408", "e16a6126ddc599e1"),
    "count": ("562567c8d875a096", "d34f684f537b08c0"),
    "position": ("37ed28687384ff52", "1b3127f77e91355e"),
    "relation": ("a8d897c65409ee20", "d79c5e5f8c4e30fb"),
    "presence": ("5fbfd64855209833", "0e71b9aac55e6e3e"),
    "description": ("3b29558e7291999d", "744dece07f259feb"),
    "background": ("6fc36ea98449c268", "95878b6b1977fcfc"),
    "number": ("2c549e0df61a6d14", "ed0b891492ae5e84"),
    "which picture": ("229be79cd18f6bb8", "a8128e025a2e1368"),
    "change": ("ed80d6fee87e95b7", "93a7838b1ad5947f"),
    "motion": ("1fdeafca368dac40", "b3c57095a125e7ac"),
    "follow-up": ("99b9cd23503e9d08", "d0c1a7d85c4c8ddf"),
    "later picture": ("b51fb57dc207d03e", "df6f28dbf6e69e4a"),
    "beyond": ("295ec390ad27b44d", "f38e4ee64967e7ec"),
    "no picture": ("2b7ba42368aab4b7", "e3b0c44298fc1c14"),
}
ENCODED = "3f79e10654fd6e54"
TILES = "a50fe9c8e0e3b37a"


def digests(dialogues: Iterable[Dialogue]) -> tuple[str, str]:
    """Hash what is said and what is shown; 16 hexadecimal digits each."""
    texts, images = sha256(), sha256()
    for dialogue in dialogues:
        texts.update(f"{dialogue.form}\n{dialogue.system}\n".encode())
        for exchange in dialogue.exchanges:
            turn, media = exchange.turn, [shown.is_video for shown in exchange.shown]
            said = (turn.kind, turn.question, turn.answer, turn.word, media, exchange.is_text_first)
            texts.update(f"{said}\n".encode())
            for shown in exchange.shown:
                for drawn in shown.images:
                    images.update(f"{drawn.image.mode} {drawn.image.size}\n".encode())
                    images.update(drawn.image.tobytes())
    return texts.hexdigest()[:16], images.hexdigest()[:16]


def batch_digest(batch: TrainingBatch) -> str:
    tensors = {name: getattr(batch, name) for name in ("ids", "labels", "changes", "turns")}
    tensors |= {name: getattr(batch, name) for name in ("pixels", "positions", "rows")}
    tensors |= {
        name: getattr(batch.dense, name)
        for name in ("what", "color", "background", "cell", "centre", "where")
    }
    content = sha256(f"{batch.kinds} {batch.frames}".encode())
    for name, tensor in tensors.items():
        assert isinstance(tensor, torch.Tensor)
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return content.hexdigest()[:16]


def drawn(form: str) -> Iterable[Dialogue]:
    """Many small images and a few of any size."""
    rng = Random(f"same {form}")
    for _ in range(400):
        yield random_dialogue(rng, Recipe(forms={form: 1.0}, size=training_size, terse=0.1))
    for _ in range(20):
        yield random_dialogue(rng, Recipe(forms={form: 1.0}))
    for _ in range(20):
        recipe = Recipe(forms={form: 1.0}, size=training_size, one_word=True, base_only=True)
        yield random_dialogue(rng, recipe)


@pytest.mark.parametrize("form", FORM_MIX)
def test_a_seed_draws_the_same_conversations(form: str) -> None:
    assert digests(drawn(form)) == FORMS[form]


@pytest.mark.parametrize("kind", VISUAL_KINDS + REFUSAL_KINDS)
def test_a_seed_draws_the_same_exam(kind: str) -> None:
    assert digests(draw_exam(30, seed=1, kinds=(kind,))) == KINDS[kind]


def test_a_conversation_becomes_the_same_tensors() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(CHECKPOINT)
    rng = Random("same tensors")
    samples = []
    for form in FORM_MIX:
        for base_only in (False, True):
            recipe = Recipe(forms={form: 1.0}, size=training_size, base_only=base_only)
            dialogue = random_dialogue(rng, recipe)
            samples.append(encode(dialogue, tokenizer, base_only=base_only))
    assert batch_digest(collate(samples, pad=0)) == ENCODED


def test_a_seed_draws_the_same_tiles() -> None:
    assert batch_digest(next(iter(TileBatches(seed=0)))) == TILES


def test_the_examples_that_ship_are_the_ones_that_are_drawn(tmp_path: Path) -> None:
    draw_examples(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in EXAMPLES.iterdir()}
    for path in EXAMPLES.iterdir():
        if path.suffix == ".json":
            assert (tmp_path / path.name).read_text() == path.read_text()
        else:
            assert frames(tmp_path / path.name) == frames(path)


def frames(path: Path) -> list[bytes]:
    with Image.open(path) as image:
        found = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            found.append(image.convert("RGB").tobytes())
        return found
