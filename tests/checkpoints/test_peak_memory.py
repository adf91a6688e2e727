"""Loading holds the weights once: measured in a process of its own, mapped pages included."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scripts import random_checkpoint
from tests.checkpoints.changed import change_weights, set_json, write_shards
from tests.checkpoints.golden_cases import GOLDEN

pytestmark = pytest.mark.slow

MOST = 1.3  # times the weights
LARGE = random_checkpoint.Shape(hidden_size=1024, layers=8, heads=8)
# The first load pays for imports; only what comes on top is measured. VmHWM is the peak of all
# resident pages, those of mapped files among them.
MEASURE = """
import sys
from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig

def held(what):
    lines = open("/proc/self/status", encoding="utf-8").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

small, large = sys.argv[1:]
load(ModelConfig(model_path=small, device="cpu"))
open("/proc/self/clear_refs", "w", encoding="utf-8").write("5")
before = held("VmRSS")
load(ModelConfig(model_path=large, device="cpu", dtype="float16"))
print(held("VmHWM") - before)
"""


def huggingface(folder: Path) -> tuple[Path, Path]:
    random_checkpoint.write("llava_onevision", folder / "small")
    random_checkpoint.write("llava_onevision", folder / "large", shape=LARGE)
    change_weights(folder / "large" / "model.safetensors", halve)
    return folder / "small", folder / "large"


def halve(weights: dict[str, torch.Tensor]) -> None:
    weights |= {name: weight.half() for name, weight in weights.items()}


def original(folder: Path, suffix: str) -> tuple[Path, Path]:
    """LLaVA 1.5 in two files, of which the language model is made wider."""
    small = GOLDEN / "A_llava15" / "checkpoint"
    place = folder / "large"
    place.mkdir()
    (folder / "openai").symlink_to(GOLDEN / "A_llava15" / "openai")
    for name in ("config.json", "tokenizer.model", "tokenizer_config.json"):
        (place / name).write_bytes((small / name).read_bytes())
    width, inner, layers = 1024, 4096, 12
    sizes = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}
    set_json(place / "config.json", **sizes)
    shapes = {
        "model.embed_tokens.weight": (640, width),
        "lm_head.weight": (640, width),
        "model.norm.weight": (width,),
        "model.mm_projector.0.weight": (width, 32),
        "model.mm_projector.0.bias": (width,),
        "model.mm_projector.2.weight": (width, width),
        "model.mm_projector.2.bias": (width,),
    }
    for i in range(layers):
        layer = f"model.layers.{i}."
        shapes |= {f"{layer}self_attn.{part}_proj.weight": (width, width) for part in "qkvo"}
        shapes |= {f"{layer}mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
        shapes[f"{layer}mlp.down_proj.weight"] = (width, inner)
        shapes |= {
            f"{layer}{part}_layernorm.weight": (width,) for part in ("input", "post_attention")
        }
    weights = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}
    write_shards(weights, place, suffix, 2)
    return small, place


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(huggingface, id="Hugging Face's layout"),
        pytest.param(lambda folder: original(folder, "safetensors"), id="LLaVA's, safetensors"),
        pytest.param(lambda folder: original(folder, "bin"), id="LLaVA's, pickled"),
    ],
)
def test_the_peak_is_hardly_more_than_the_weights(
    write: Callable[[Path], tuple[Path, Path]], tmp_path: Path
) -> None:
    small, large = write(tmp_path)
    weights = sum(path.stat().st_size for path in large.glob("*model*.[sb]*"))
    assert weights > 250e6
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), str(large)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.split()[-1]) <= MOST * weights
