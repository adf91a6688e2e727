"""Trains what ships: the tower on dense labels, everything on answers, then the adapter."""

import argparse
import json
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from llava_serve.tiny import CHECKPOINT, EXAMPLES, ONE_WORD
from llava_serve.tiny.adapter import train_adapter
from llava_serve.tiny.architecture import model_config
from llava_serve.tiny.attention import NAME
from llava_serve.tiny.batch import Batch
from llava_serve.tiny.checkpoint import save_checkpoint
from llava_serve.tiny.conversation import FORM_MIX, SINGLE_MIX, Recipe, training_size
from llava_serve.tiny.examples import draw_examples
from llava_serve.tiny.learner import Learner
from llava_serve.tiny.loop import Budget, Figures, Interrupted, Loop
from llava_serve.tiny.optimizer import build_optimizers
from llava_serve.tiny.stream import ConversationBatches, TileBatches, loader
from llava_serve.tiny.tokenizer import train_tokenizer

logger = logging.getLogger(__name__)
_TOWER_SCALE = 2.5
_AUXILIARY = 0.4  # weight of the heads' loss at the start of the joint stage


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command line says."""

    output: Path
    adapter: Path
    examples: Path
    state: Path
    seed: int
    tower_minutes: float
    minutes: float
    steps: int
    scale: float
    decay: float
    mix: dict[str, float]
    easy: float
    start: Path | None


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = _parse()
    torch.manual_seed(settings.seed)
    settings.state.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(settings.state / "tokenizer")
    model = LlavaOnevisionForConditionalGeneration(model_config(tokenizer.get_vocab()))
    model.model.vision_tower.set_attn_implementation("eager")
    model.model.language_model.set_attn_implementation(NAME)
    learner = Learner(model)
    try:
        if settings.start:
            learner.load_state_dict(torch.load(settings.start, weights_only=True), strict=False)
        else:
            train_tower(learner, settings)
        train_all(learner, tokenizer, settings)
        train_adapter(settings.output, settings.adapter, settings.state / "adapter", settings.seed)
        draw_examples(settings.examples)
    except Interrupted:
        logger.info("stopped; run the same command to go on")
        sys.exit(130)


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Train the tokenizer once: a later run must never give the same words other numbers."""
    if not folder.exists():
        train_tokenizer().save_pretrained(folder)
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def train_tower(learner: Learner, settings: Settings) -> None:
    """Stage 1: every patch says what it shows. Skipped when its result is on disk."""
    result = settings.state / "tower.pt"
    tower, heads = learner.model.model.vision_tower, learner.heads
    if not result.exists():
        accelerator = _accelerator()
        optimizers = build_optimizers([tower, heads], _TOWER_SCALE)
        prepared, *optimizers = accelerator.prepare(learner, *optimizers)
        loop = Loop(accelerator, optimizers, settings.state / "stage1")
        loop.resume()

        def loss(batch: Batch, _: float) -> tuple[Tensor, Figures]:
            _, dense, figures = prepared(batch)
            return dense, figures

        batches = TileBatches(settings.seed, loop.progress.step)
        budget = Budget(steps=5000, minutes=settings.tower_minutes, decay=0.3)
        loop.run(loader(batches), loss, budget, lambda: None)
        torch.save({"tower": tower.state_dict(), "heads": heads.state_dict()}, result)
    state = torch.load(result, weights_only=True)
    tower.load_state_dict(state["tower"])
    heads.load_state_dict(state["heads"], strict=False)


def train_all(learner: Learner, tokenizer: PreTrainedTokenizerFast, settings: Settings) -> None:
    """Stage 2: tower, projector and text model on answers, the heads' loss fading out."""
    accelerator = _accelerator()
    optimizers = build_optimizers([learner], settings.scale)
    prepared, *optimizers = accelerator.prepare(learner, *optimizers)
    loop = Loop(accelerator, optimizers, settings.state / "stage2")
    loop.resume()

    def loss(batch: Batch, done: float) -> tuple[Tensor, Figures]:
        answers, dense, figures = prepared(batch)
        return answers + _AUXILIARY * (1 - done) * dense, figures

    def save() -> None:
        save_checkpoint(learner.model, tokenizer, settings.output)

    if loop.progress.step == 0:
        save()
    budget = Budget(steps=settings.steps, minutes=settings.minutes, decay=settings.decay)
    for easy, until in ((True, settings.easy), (False, 1.0)):
        lessons = recipe(settings.mix, easy=easy)
        batches = ConversationBatches(tokenizer, lessons, settings.seed, loop.progress.step)
        loop.run(loader(batches), loss, budget, save, until)


def recipe(mix: dict[str, float], *, easy: bool) -> Recipe:
    """The training mix, some weights of kinds or forms replaced."""
    default = Recipe(size=training_size, base_only=easy, terse=0.08)
    return replace(
        default,
        kinds=SINGLE_MIX | {name: weight for name, weight in mix.items() if name in SINGLE_MIX},
        forms=FORM_MIX | {name: weight for name, weight in mix.items() if name in FORM_MIX},
    )


def _accelerator() -> Accelerator:
    return Accelerator(mixed_precision="bf16")


def _parse() -> Settings:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=CHECKPOINT, help="folder of the checkpoint")
    parser.add_argument("--adapter", type=Path, default=ONE_WORD, help="folder of the adapter")
    parser.add_argument("--examples", type=Path, default=EXAMPLES, help="folder of the examples")
    parser.add_argument(
        "--state", type=Path, default=Path(".runs/tiny"), help="where to resume from"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tower-minutes", type=float, default=17.0, help="most time for stage 1")
    parser.add_argument("--minutes", type=float, default=90.0, help="most time for stage 2")
    parser.add_argument("--steps", type=int, default=12_000, help="most steps of stage 2")
    parser.add_argument("--scale", type=float, default=1.0, help="of stage 2's learning rates")
    parser.add_argument("--decay", type=float, default=0.2, help="last share, towards rate zero")
    parser.add_argument(
        "--mix", type=json.loads, default={}, help='weights by name, such as {"shape": 2}'
    )
    parser.add_argument("--easy", type=float, default=0.4, help="first share, on base tiles only")
    parser.add_argument(
        "--start", type=Path, help="pytorch_model.bin of an earlier stage 2, instead of stage 1"
    )
    return Settings(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
