"""Training of the bundled checkpoint: vision tower, then the whole model, then the adapter."""

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from tokenizers import AddedToken
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from llava_serve.tiny import CHECKPOINT, EXAMPLES, ONE_WORD
from scripts.tiny.adapter import AdapterSettings, train_adapter
from scripts.tiny.batch import TrainingBatch
from scripts.tiny.checkpoint import deepened, model_config, save_checkpoint
from scripts.tiny.examples import draw_examples
from scripts.tiny.learner import Learner, make_fast
from scripts.tiny.loop import Figures, TrainingBudget, TrainingInterrupted, TrainingLoop
from scripts.tiny.optimizer import build_optimizers, precision
from scripts.tiny.recipe import Recipe, read_mix, training_size
from scripts.tiny.stream import DialogueBatches, TileBatches, loader
from scripts.tiny.tokenizer import SHORT_ANSWER, train_tokenizer

logger = logging.getLogger(__name__)
_TOWER_SCALE = 2.5
_AUXILIARY = 0.4  # weight of the heads' loss at the start of the joint stage
_HEADS_STEPS = 300  # enough for linear heads on a tower that sees


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of the command line."""

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
    terse: float
    start: Path | None


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = _parse()
    torch.manual_seed(settings.seed)
    settings.state.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(settings)
    config = model_config(tokenizer.get_vocab())
    if settings.start:
        model = LlavaOnevisionForConditionalGeneration.from_pretrained(settings.start)
        model.resize_token_embeddings(len(tokenizer))
        model = deepened(model, config)
    else:
        model = LlavaOnevisionForConditionalGeneration(config)
    make_fast(model)
    learner = Learner(model)
    try:
        train_tower(learner, settings)
        train_all(learner, tokenizer, settings)
        save_checkpoint(learner.model, tokenizer, settings.output)
        train_adapter(
            AdapterSettings(
                model=settings.output,
                output=settings.adapter,
                state=settings.state / "adapter",
                seed=settings.seed,
            )
        )
        draw_examples(settings.examples)
    except TrainingInterrupted:
        logger.info("stopped; run the same command to go on")
        sys.exit(130)


def _tokenizer(settings: TrainingSettings) -> PreTrainedTokenizerFast:
    """Train the tokenizer once: a later run must never give the same words other numbers."""
    folder = settings.start or settings.state / "tokenizer"
    if not folder.exists():
        train_tokenizer().save_pretrained(folder)
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken(SHORT_ANSWER, normalized=False)])
    return tokenizer


def train_tower(learner: Learner, settings: TrainingSettings) -> None:
    """Stage 1: every patch says what it shows. Skipped when its result is on disk.

    A checkpoint to go on from has a tower already: then only the heads, which do not ship, learn.
    """
    result = settings.state / "tower.pt"
    tower, heads = learner.model.model.vision_tower, learner.heads
    if not result.exists():
        accelerator = Accelerator(mixed_precision=precision())
        tower.requires_grad_(settings.start is None)
        optimizers = build_optimizers([heads] if settings.start else [tower, heads], _TOWER_SCALE)
        prepared, *optimizers = accelerator.prepare(learner, *optimizers)
        loop = TrainingLoop(accelerator, optimizers, settings.state / "stage1")
        loop.resume()

        def loss(batch: TrainingBatch, _: float) -> tuple[Tensor, Figures]:
            _, dense, figures = prepared(batch)
            return dense, figures

        batches = TileBatches(settings.seed, loop.progress.step)
        steps = _HEADS_STEPS if settings.start else 5000
        budget = TrainingBudget(steps=steps, minutes=settings.tower_minutes, decay=0.3)
        loop.run(loader(batches), loss, budget, lambda: None)
        tower.requires_grad_(True)
        torch.save({"tower": tower.state_dict(), "heads": heads.state_dict()}, result)
    state = torch.load(result, weights_only=True)
    tower.load_state_dict(state["tower"])
    heads.load_state_dict(state["heads"], strict=False)


def train_all(
    learner: Learner, tokenizer: PreTrainedTokenizerFast, settings: TrainingSettings
) -> None:
    """Stage 2: tower, projector and text model on answers, the heads' loss fading out.

    What it has learned so far lies in the state's folder `latest`, to be examined meanwhile.
    """
    accelerator = Accelerator(mixed_precision=precision())
    optimizers = build_optimizers([learner], settings.scale)
    prepared, *optimizers = accelerator.prepare(learner, *optimizers)
    loop = TrainingLoop(accelerator, optimizers, settings.state / "stage2")
    loop.resume()

    def loss(batch: TrainingBatch, done: float) -> tuple[Tensor, Figures]:
        answers, dense, figures = prepared(batch)
        return answers + _AUXILIARY * (1 - done) * dense, figures

    def save() -> None:
        save_checkpoint(learner.model, tokenizer, settings.state / "latest")

    budget = TrainingBudget(steps=settings.steps, minutes=settings.minutes, decay=settings.decay)
    for easy, until in ((True, settings.easy), (False, 1.0)):
        recipe = Recipe(size=training_size, base_only=easy, terse=settings.terse, shades=0.5)
        recipe = recipe.weighted(settings.mix)
        batches = DialogueBatches(tokenizer, recipe, settings.seed, loop.progress.step)
        loop.run(loader(batches), loss, budget, save, until)


def _parse() -> TrainingSettings:
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
    parser.add_argument("--minutes", type=float, default=180.0, help="most time for stage 2")
    parser.add_argument("--steps", type=int, default=12_000, help="most steps of stage 2")
    parser.add_argument("--scale", type=float, default=0.7, help="of stage 2's learning rates")
    parser.add_argument("--decay", type=float, default=0.75, help="last share, towards rate zero")
    parser.add_argument(
        "--mix", type=read_mix, default={}, help='weights by name, such as {"shape": 2}'
    )
    parser.add_argument("--easy", type=float, default=0.3, help="first share, on base tiles only")
    parser.add_argument("--terse", type=float, default=0.15, help="share that asks for one word")
    parser.add_argument(
        "--start", type=Path, help="folder of a checkpoint to go on from, instead of from nothing"
    )
    return TrainingSettings(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
