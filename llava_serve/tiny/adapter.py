"""Trains the second variant: a LoRA adapter that answers in one word."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from llava_serve.tiny import CHECKPOINT, ONE_WORD
from llava_serve.tiny.batch import Batch
from llava_serve.tiny.checkpoint import written_whole
from llava_serve.tiny.conversation import Recipe, training_size
from llava_serve.tiny.learner import Learner
from llava_serve.tiny.loop import Budget, Figures, Interrupted, Loop
from llava_serve.tiny.speed import make_fast, precision
from llava_serve.tiny.stream import ConversationBatches, loader

logger = logging.getLogger(__name__)
BUDGET = Budget(steps=500, minutes=8.0, decay=0.4)
_RATE = 8e-4
_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def train_adapter(
    model: Path, output: Path, state: Path, seed: int, budget: Budget = BUDGET
) -> None:
    """Train low-rank matrices of the text model on one-word answers; everything else stays."""
    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    base = LlavaOnevisionForConditionalGeneration.from_pretrained(model)
    adapted: Any = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=_TARGETS))
    make_fast(base)
    learner = Learner(base)  # the adapter's matrices now sit inside `base`
    learner.heads.requires_grad_(False)
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    optimizer.param_groups[0]["peak"] = _RATE
    accelerator = Accelerator(mixed_precision=precision())
    prepared, prepared_optimizer = accelerator.prepare(learner, optimizer)
    loop = Loop(accelerator, [prepared_optimizer], state)
    loop.resume()

    def loss(batch: Batch, _: float) -> tuple[Tensor, Figures]:
        answers, _, figures = prepared(batch)
        return answers, figures

    recipe = Recipe(size=training_size, one_word=True)
    batches = ConversationBatches(tokenizer, recipe, seed, loop.progress.step)
    loop.run(loader(batches), loss, budget, lambda: save_adapter(adapted, output))


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
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="checkpoint to adapt")
    parser.add_argument("--output", type=Path, default=ONE_WORD, help="folder of the adapter")
    parser.add_argument("--state", type=Path, default=Path(".runs/tiny/adapter"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=BUDGET.minutes, help="most time")
    parser.add_argument("--steps", type=int, default=BUDGET.steps, help="most steps")
    options = parser.parse_args()
    budget = Budget(steps=options.steps, minutes=options.minutes, decay=BUDGET.decay)
    try:
        train_adapter(options.model, options.output, options.state, options.seed, budget)
    except Interrupted:
        logger.info("stopped; run the same command to go on")
        sys.exit(130)


if __name__ == "__main__":
    main()
