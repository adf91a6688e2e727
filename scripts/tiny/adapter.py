"""LoRA training of the second variant, which answers in one word."""

import argparse
import json
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from llava_serve.tiny import CHECKPOINT, ONE_WORD
from scripts.tiny.batch import TrainingBatch
from scripts.tiny.checkpoint import written_whole
from scripts.tiny.learner import Learner, make_fast
from scripts.tiny.loop import Figures, TrainingBudget, TrainingInterrupted, TrainingLoop
from scripts.tiny.optimizer import precision
from scripts.tiny.recipe import Recipe, read_mix, training_size
from scripts.tiny.stream import DialogueBatches, loader

logger = logging.getLogger(__name__)
_DECAY = 0.4  # the last share of the steps, towards rate zero
_RATE = 8e-4
_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """Settings of the command line; `start` is an adapter to continue from."""

    model: Path = CHECKPOINT
    output: Path = ONE_WORD
    state: Path = Path(".runs/tiny/adapter")
    seed: int = 1
    minutes: float = 8.0
    steps: int = 500
    mix: dict[str, float] = field(default_factory=dict)
    start: Path | None = None


def train_adapter(settings: AdapterSettings) -> None:
    """Train low-rank matrices of the text model on one-word answers; everything else stays."""
    torch.manual_seed(settings.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(settings.model)
    base = LlavaOnevisionForConditionalGeneration.from_pretrained(settings.model)
    adapted = _adapted(base, settings.start)
    make_fast(base)
    learner = Learner(base)  # the adapter's matrices now sit inside `base`
    learner.heads.requires_grad_(False)
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    optimizer.param_groups[0]["peak"] = _RATE
    accelerator = Accelerator(mixed_precision=precision())
    prepared, prepared_optimizer = accelerator.prepare(learner, optimizer)
    loop = TrainingLoop(accelerator, [prepared_optimizer], settings.state)
    loop.resume()

    def loss(batch: TrainingBatch, _: float) -> tuple[Tensor, Figures]:
        answers, _, figures = prepared(batch)
        return answers, figures

    recipe = Recipe(size=training_size, one_word=True, terse=0.15, shades=0.5)
    batches = DialogueBatches(
        tokenizer, recipe.weighted(settings.mix), settings.seed, loop.progress.step
    )
    budget = TrainingBudget(steps=settings.steps, minutes=settings.minutes, decay=_DECAY)
    loop.run(loader(batches), loss, budget, lambda: save_adapter(adapted, settings.output))


def _adapted(base: Any, start: Path | None) -> Any:
    if start is not None:
        return PeftModel.from_pretrained(base, start, is_trainable=True)
    return get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=_TARGETS))


def save_adapter(adapted: Any, folder: Path) -> None:
    """Write peft's layout, which names the base by its folder's name and no path of this disk."""
    with written_whole(folder) as partial:
        adapted.save_pretrained(partial)
        config = partial / "adapter_config.json"
        content = json.loads(config.read_text()) | {"base_model_name_or_path": CHECKPOINT.name}
        config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
        (partial / "README.md").unlink(missing_ok=True)  # peft's own form, all left blank


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="checkpoint to adapt")
    parser.add_argument("--output", type=Path, help="folder of the adapter")
    parser.add_argument("--state", type=Path, help="where to resume from")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float, help="most time")
    parser.add_argument("--steps", type=int, help="most steps")
    parser.add_argument("--mix", type=read_mix, help='weights by name, such as {"shape": 2}')
    parser.add_argument("--start", type=Path, help="folder of an adapter to go on from")
    parser.set_defaults(**vars(AdapterSettings()))
    try:
        train_adapter(AdapterSettings(**vars(parser.parse_args())))
    except TrainingInterrupted:
        logger.info("stopped; run the same command to go on")
        sys.exit(130)


if __name__ == "__main__":
    main()
