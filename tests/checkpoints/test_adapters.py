from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import LlavaOnevisionForConditionalGeneration

from llava_serve.errors import CheckpointError
from tests.checkpoints.changed import change_weights, set_json
from tests.checkpoints.encoded import load_from

# peft 0.21 asks transformers by an old name; only making an adapter meets it here.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

TARGETS = r".*language_model.*\.(q_proj|v_proj)"


@pytest.fixture
def adapter(onevision: Path, tmp_path: Path) -> Path:
    """A LoRA adapter on the random checkpoint, its own weights random as well."""
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(onevision)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS)
    tuned = get_peft_model(model, settings)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(generator=generator)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    return tmp_path / "adapter"


def load_adapter(adapter: Path, base: Path | None, **flags: Any) -> Any:
    return load_from(adapter, model_base=None if base is None else str(base), **flags)


def test_an_adapter_is_merged_into_its_base(onevision: Path, adapter: Path) -> None:
    loaded = load_adapter(adapter, onevision)
    merged = loaded.model.model.language_model.layers[0].self_attn.q_proj
    before = load_from(onevision).model.get_parameter(
        "model.language_model.layers.0.self_attn.q_proj.weight"
    )
    weights = load_file(adapter / "adapter_model.safetensors")
    down, up = (
        next(
            value for name, value in weights.items() if f"layers.0.self_attn.q_proj.{part}" in name
        )
        for part in ("lora_A", "lora_B")
    )
    assert type(merged) is torch.nn.Linear
    torch.testing.assert_close(merged.weight, before + 8 / 4 * up @ down)
    assert loaded.card.id == "adapter"


def test_an_adapter_without_base_names_the_base(onevision: Path, adapter: Path) -> None:
    with pytest.raises(CheckpointError, match=f"trained on {onevision}: give --model-base"):
        load_adapter(adapter, None)


def test_an_adapter_is_no_base(adapter: Path) -> None:
    with pytest.raises(CheckpointError, match="is an adapter itself"):
        load_adapter(adapter, adapter)


def test_an_adapter_for_other_layers_is_refused(onevision: Path, adapter: Path) -> None:
    set_json(adapter / "adapter_config.json", target_modules="transformer.h.0.attn")
    with pytest.raises(CheckpointError, match="does not fit --model-base"):
        load_adapter(adapter, onevision)


def test_an_adapter_of_another_shape_is_refused(onevision: Path, adapter: Path) -> None:
    def widen(weights: dict[str, torch.Tensor]) -> None:
        for name, value in weights.items():
            weights[name] = torch.ones(value.shape[0] + 1, value.shape[1])

    change_weights(adapter / "adapter_model.safetensors", widen)
    with pytest.raises(CheckpointError, match=r"does not fit --model-base .*size mismatch"):
        load_adapter(adapter, onevision)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.popitem(), "lacks 1 weights"),
        (
            lambda weights: weights.update({"base_model.model.x.lora_A.weight": torch.ones(1)}),
            "has unknown 1 weights",
        ),
    ],
    ids=["missing", "unknown"],
)
def test_weights_that_do_not_match_are_named(
    onevision: Path, adapter: Path, change: Any, message: str
) -> None:
    change_weights(adapter / "adapter_model.safetensors", change)
    with pytest.raises(CheckpointError, match=message):
        load_adapter(adapter, onevision)


def test_an_adapter_without_its_weights_says_so(onevision: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=f"{adapter} has no weights"):
        load_adapter(adapter, onevision)


def test_an_adapter_of_another_kind_is_refused_by_name(onevision: Path, adapter: Path) -> None:
    set_json(adapter / "adapter_config.json", peft_type="IA3")
    with pytest.raises(CheckpointError, match="is of type 'IA3'; only LORA"):
        load_adapter(adapter, onevision)


@pytest.mark.slow
def test_beside_quantised_weights_an_adapter_stays_apart(onevision: Path, adapter: Path) -> None:
    loaded = load_adapter(adapter, onevision, load_8bit=True)
    layer = loaded.model.model.language_model.layers[0].self_attn.q_proj
    assert type(layer).__name__ == "Linear8bitLt"
    assert hasattr(layer, "lora_A")
