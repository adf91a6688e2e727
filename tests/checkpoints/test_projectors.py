"""Each kind of projector computes what LLaVA's own code computes, written out here."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.errors import CheckpointError
from llava_serve.request import Conversation, Image, Message
from tests.checkpoints.conftest import CopyCase
from tests.checkpoints.encoded import load_from, merged, picture, rows

WIDTH = 32
LAYERS = {"linear": [""], "mlp1x_gelu": ["0."], "mlp2x_gelu": ["0.", "2."], "identity": []}
Layers = list[tuple[torch.Tensor, torch.Tensor]]


def random_layers(count: int) -> Layers:
    torch.manual_seed(0)
    return [(torch.randn(WIDTH, WIDTH).half(), torch.randn(WIDTH).half()) for _ in range(count)]


def saved(layers: Layers, names: list[str], prefix: str, path: Path) -> None:
    held: dict[str, torch.Tensor] = {}
    for name, (weight, bias) in zip(names, layers, strict=True):
        held[f"{prefix}mm_projector.{name}weight"] = weight
        held[f"{prefix}mm_projector.{name}bias"] = bias
    torch.save(held, path)


def by_hand(loaded: LoadedModel, shown: Image, layers: Layers) -> torch.Tensor:
    """Compute the feature rows of a picture from the tower's last state but one."""
    assert loaded.original is not None
    with torch.no_grad():
        tower = loaded.model.model.vision_tower
        states = tower(loaded.original.tiles(shown.image), output_hidden_states=True)
        values: torch.Tensor = states.hidden_states[-2][0, 1:]
        for i, (weight, bias) in enumerate(layers):
            values = functional.gelu(values) if i else values
            values = values @ weight.float().T + bias.float()
    return values


@pytest.mark.parametrize("kind", LAYERS)
def test_a_picture_s_rows_are_those_of_its_projector(copied: CopyCase, kind: str) -> None:
    folder = copied("E", "llava-v1.5-tiny-pretrain", mm_projector_type=kind)
    layers = random_layers(len(LAYERS[kind]))
    saved(layers, LAYERS[kind], "model.", folder / "mm_projector.bin")
    loaded = load_from(folder, model_base=str(folder.parent / "vicuna-base"))
    (found,) = rows(loaded, picture("lora.wide", "E"))
    torch.testing.assert_close(found, by_hand(loaded, picture("lora.wide", "E"), layers))


def test_a_linear_projector_may_come_with_an_adapter(copied: CopyCase) -> None:
    """As in llava-v1-0719-336px-lora-vicuna-13b-v1.3."""
    folder = copied("E", "llava-v1.5-tiny-lora", mm_projector_type="linear")
    layers = random_layers(1)
    prefix = "base_model.model.model."
    saved(layers, [""], prefix, folder / "non_lora_trainables.bin")
    base = str(folder.parent / "vicuna-base")
    loaded = load_from(folder, model_base=base, model_name="llava-v1-0719-336px-lora-vicuna-13b")
    assert loaded.format.name == "vicuna_v1"
    shown = picture("lora.wide", "E")
    conversation = Conversation((Message("user", (shown, "What is it?")),))
    items = PromptTokenizer(loaded).tokenize(conversation)
    prompt = merged(loaded, items)
    at = items.index(shown)
    before, after = (
        loaded.model.get_input_embeddings()(torch.tensor(ids))
        for ids in (items[:at], items[at + 1 :])
    )
    expected = torch.cat([before, by_hand(loaded, shown, layers), after])
    torch.testing.assert_close(prompt.embeddings, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_layer_that_changes_nothing_changes_nothing_in_16_bits(
    copied: CopyCase, dtype: str
) -> None:
    folder = copied("E", "llava-v1.5-tiny-pretrain", mm_projector_type="linear")
    ((weight, bias),) = layers = random_layers(1)
    saved(layers, [""], "model.", folder / "mm_projector.bin")
    loaded = load_from(folder, model_base=str(folder.parent / "vicuna-base"), dtype=dtype)
    precision = getattr(torch, dtype)
    states = torch.randn(5, WIDTH, dtype=precision)
    expected = functional.linear(states, weight.to(precision), bias.to(precision))
    assert torch.equal(loaded.model.model.multi_modal_projector(states), expected)


@pytest.mark.parametrize(
    ("said", "held"), [("linear", ["0.", "2."]), ("mlp2x_gelu", [""]), ("identity", [""])]
)
def test_a_projector_of_another_kind_than_the_config_says_is_refused(
    copied: CopyCase, said: str, held: list[str]
) -> None:
    folder = copied("E", "llava-v1.5-tiny-pretrain", mm_projector_type=said)
    saved(random_layers(len(held)), held, "model.", folder / "mm_projector.bin")
    with pytest.raises(CheckpointError, match=f"no projector of type {said} .found of .* correct"):
        load_from(folder, model_base=str(folder.parent / "vicuna-base"))


@pytest.mark.parametrize("prefix", ["", "model.", "base_model.model.model."])
def test_a_projector_s_names_may_have_any_of_the_trainers_prefixes(
    copied: CopyCase, prefix: str
) -> None:
    folder = copied("E", "llava-v1.5-tiny-pretrain")
    path = folder / "mm_projector.bin"
    held = torch.load(path, weights_only=True)
    torch.save({prefix + name.removeprefix("model."): held[name] for name in held}, path)
    loaded = load_from(folder, model_base=str(folder.parent / "vicuna-base"))
    weight = loaded.model.get_parameter("model.multi_modal_projector.linear_1.weight")
    torch.testing.assert_close(weight, held["model.mm_projector.0.weight"].float())
