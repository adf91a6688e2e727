import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from llava_serve.checkpoints import memory
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.budget import choose_budget, warm_up
from llava_serve.engines.torch.model_runner import ModelRunner
from llava_serve.engines.torch.prompt import PromptProcessor
from llava_serve.engines.torch.vision import ImageFeatureCache

Load = Callable[[str], LoadedModel]


@pytest.fixture
def model(loaded: Load) -> LoadedModel:
    return replace(loaded("llava_onevision"), context_length=4096)


@pytest.fixture
def with_room_for(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], LoadedModel]:
    """The memory is set, because a test cannot choose the machine's."""
    config = model.model.config.get_text_config(decoder=True)
    each = memory.kv_values_per_token(config) * model.model.dtype.itemsize

    def of_tokens(tokens: int) -> LoadedModel:
        monkeypatch.setattr(memory, "free_bytes", lambda _: 2 * tokens * each)
        return model

    return of_tokens


@pytest.mark.parametrize(
    ("room", "slots", "kv_tokens"),
    [
        pytest.param(10**9, 16, 2 * 16 * 4096, id="more than anybody needs"),
        pytest.param(50_000, 16, 50_000, id="many slots, none of which is sure of its context"),
        pytest.param(10_000, 4, 10_000, id="few"),
        pytest.param(1_000, 1, 1_000, id="hardly one"),
    ],
)
def test_the_memory_decides_how_many_run_at_once(
    with_room_for: Callable[[int], LoadedModel], room: int, slots: int, kv_tokens: int
) -> None:
    chosen = choose_budget(with_room_for(room))
    assert (chosen.slots, chosen.kv_tokens) == (slots, kv_tokens)


def test_what_the_flags_say_is_taken(with_room_for: Callable[[int], LoadedModel]) -> None:
    chosen = choose_budget(with_room_for(10**6), slots=3, kv_tokens=5000, prefill_budget=7)
    assert (chosen.slots, chosen.kv_tokens, chosen.prefill_budget) == (3, 5000, 7)


def test_a_cache_of_given_size_limits_the_slots(
    with_room_for: Callable[[int], LoadedModel],
) -> None:
    assert choose_budget(with_room_for(10**6), kv_tokens=6200).slots == 3


def test_kept_features_never_take_more_than_their_share(
    with_room_for: Callable[[int], LoadedModel],
) -> None:
    model = with_room_for(1000)
    free = memory.free_bytes(model.model.device)
    assert 0 < choose_budget(model).feature_bytes <= free / 10


class Slow(nn.Module):
    """Takes so much longer than the module does."""

    def __init__(self, module: nn.Module, delay_s: float) -> None:
        super().__init__()
        self.module = module
        self._delay_s = delay_s

    def forward(self, *args: Any, **options: Any) -> Any:
        time.sleep(self._delay_s)
        return self.module(*args, **options)


@contextmanager
def slow(loaded: LoadedModel, tower_s: float, head_s: float) -> Iterator[None]:
    model: Any = loaded.model
    tower, head = model.model.vision_tower, model.lm_head
    model.model.vision_tower, model.lm_head = Slow(tower, tower_s), Slow(head, head_s)
    yield
    model.model.vision_tower, model.lm_head = tower, head


def test_a_step_beside_answers_takes_a_twentieth_of_a_second(model: LoadedModel) -> None:
    processor = PromptProcessor(model, ImageFeatureCache(model, 0), context=512)
    with slow(model, tower_s=0.01, head_s=0.016):
        step = warm_up(model, processor, ModelRunner(model.model, 512), 512)
    assert 0 < step.tiles <= 0.05 / 0.01
    assert 0 < step.tokens <= 64 * 0.05 / 0.016  # of 64 tokens that take at least 16 ms
