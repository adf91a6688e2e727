"""Small files to learn from, the command that learns, and what is learnt, asked of an engine."""

import json
import shlex
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageDraw

from llava_serve import train
from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.request import Conversation, GenerateRequest, Image, Message, SamplingParams
from llava_serve.tiny import CHECKPOINT
from tests.checkpoints.encoded import text_of
from tests.checkpoints.golden_cases import GOLDEN
from tests.training.conftest import entry

QUESTION = "What is it?"
TAUGHT = {"teal": "Seven purple elephants.", "tomato": "A loud yellow whistle."}
PARTS = GOLDEN / "E_lora_and_projector"
BASE = PARTS / "vicuna-base"
TOWER = PARTS / "openai" / "clip-vit-tiny-patch14-112"
# Flags of scripts/v1_5/*.sh that differ little among them.
PUBLISHED = shlex.split("""
    --mm_vision_select_layer -2 --mm_use_im_start_end False --mm_use_im_patch_token False
    --per_device_eval_batch_size 4 --gradient_accumulation_steps 1 --evaluation_strategy "no"
    --save_strategy "steps" --save_total_limit 1 --weight_decay 0. --warmup_ratio 0.03
    --lr_scheduler_type "cosine" --logging_steps 1 --tf32 True --gradient_checkpointing True
    --lazy_preprocess True --report_to none
""")


def picture(color: str) -> PIL.Image.Image:
    drawn = PIL.Image.new("RGB", (96, 96), "white")
    PIL.ImageDraw.Draw(drawn).ellipse((10, 10, 85, 85), fill=color)
    return drawn


def write_lesson(folder: Path, *, with_texts: bool = True) -> list[str]:
    """Write pictures and questions; return the flags that name them."""
    entries = []
    for color, answer in TAUGHT.items():
        picture(color).save(folder / f"{color}.png")
        entries.append(entry(f"<image>\n{QUESTION}", answer, image=f"{color}.png"))
    if with_texts:
        entries += [entry("Hi there.", "Hello."), entry("Who are you, and why?", "A model.")]
    path = folder / "lesson.json"
    path.write_text(json.dumps(entries), "utf-8")
    return ["--data_path", str(path), "--image_folder", str(folder)]


def learn(*words: Any) -> int:
    return train.main([*map(str, words), "--use_cpu", "True"])


def bundled(out: Path) -> list[str]:
    return ["--model_name_or_path", str(CHECKPOINT), "--output_dir", str(out)]


def composed(out: Path) -> list[str]:
    model = ["--model_name_or_path", str(BASE), "--vision_tower", str(TOWER)]
    kind = ["--mm_projector_type", "mlp2x_gelu", "--image_aspect_ratio", "pad"]
    return [*model, *kind, "--output_dir", str(out)]


def losses(out: Path) -> list[float]:
    state = json.loads((out / "trainer_state.json").read_text("utf-8"))
    return [line["loss"] for line in state["log_history"] if "loss" in line]


async def answers(path: Path, base: Path | None = None) -> list[str]:
    """Ask what was taught of each picture."""
    config = ModelConfig(model_path=str(path), model_base=str(base) if base else None, device="cpu")
    loaded = load(config)
    found = []
    engine = TorchEngine(loaded, choose_budget(loaded, slots=1))
    try:
        for color in TAUGHT:
            request = GenerateRequest(
                request_id="req-1",
                prompt=Conversation((Message("user", (Image(picture(color), color), QUESTION)),)),
                sampling=SamplingParams(temperature=0, max_new_tokens=24),
            )
            found.append(await text_of(engine.stream(request)))
    finally:
        engine.close()
    return found
