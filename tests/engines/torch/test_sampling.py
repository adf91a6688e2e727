from collections import Counter
from typing import Any

import pytest
import torch

from llava_serve.engines.torch.penalties import TokenHistory
from llava_serve.engines.torch.sampling import SamplerState, sample
from llava_serve.request import SamplingParams

LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))


def draws(count: int = 2000, **settings: Any) -> Counter[int]:
    state = SamplerState.of(SamplingParams(seed=1, **settings))
    return Counter(sample(LOGITS, [state], [TokenHistory([])])[0] for _ in range(count))


def test_temperature_zero_takes_the_most_likely() -> None:
    assert draws(20, temperature=0) == {0: 20}


def test_temperature_one_follows_the_probabilities() -> None:
    counts = draws(temperature=1.0)
    for token, expected in enumerate((0.5, 0.3, 0.15, 0.05)):
        assert counts[token] / 2000 == pytest.approx(expected, abs=0.04)


def test_a_low_temperature_sharpens() -> None:
    assert draws(temperature=0.25)[0] > 1700


@pytest.mark.parametrize(
    ("top_k", "kept"), [(1, {0}), (2, {0, 1}), (0, {0, 1, 2, 3}), (9, {0, 1, 2, 3})]
)
def test_top_k_keeps_the_k_most_likely(top_k: int, kept: set[int]) -> None:
    assert set(draws(top_k=top_k)) == kept


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.01, {0}), (0.49, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, kept: set[int]) -> None:
    assert set(draws(top_p=top_p)) == kept


def test_top_p_counts_within_what_top_k_left() -> None:
    assert set(draws(top_k=2, top_p=0.6)) == {0}  # 0.5 of the 0.8 that top_k kept is over 0.6


def test_a_seed_repeats_and_another_seed_differs() -> None:
    def answer(seed: int) -> list[int]:
        state = SamplerState.of(SamplingParams(seed=seed))
        return [sample(LOGITS, [state], [TokenHistory([])])[0] for _ in range(50)]

    assert answer(3) == answer(3)
    assert answer(3) != answer(4)


@pytest.mark.parametrize("seed", [-1, 2**63 - 1, -(2**63)])
def test_every_seed_of_the_wire_is_taken(seed: int) -> None:
    assert sample(LOGITS, [SamplerState.of(SamplingParams(seed=seed))], [TokenHistory([])])[
        0
    ] in range(4)


def test_a_row_gets_the_same_token_alone_and_in_a_batch() -> None:
    logits = torch.randn(9, 50, generator=torch.Generator().manual_seed(0))
    settings = [
        SamplingParams(seed=1),
        SamplingParams(temperature=0),
        SamplingParams(seed=2, top_k=3),
        SamplingParams(seed=3, top_p=0.5, temperature=1.7),
        SamplingParams(seed=4, repetition_penalty=1.5),
        SamplingParams(temperature=0, repetition_penalty=2.0),
        SamplingParams(temperature=0, frequency_penalty=1.5, presence_penalty=-0.5),
        SamplingParams(seed=5, min_p=0.3),
        SamplingParams(seed=6, logit_bias=((4, 2.0), (9, -100.0))),
    ]
    histories = [TokenHistory([row, 7, 7], row % 3) for row in range(9)]
    together = sample(logits, [SamplerState.of(each) for each in settings], histories)
    alone = [
        sample(logits[row : row + 1], [SamplerState.of(each)], [histories[row]])[0]
        for row, each in enumerate(settings)
    ]
    assert together == alone


def test_the_repetition_penalty_follows_transformers() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = torch.randn(1, 20, generator=torch.Generator().manual_seed(0))
    history = [3, 3, 5, 19]
    expected = RepetitionPenaltyLogitsProcessor(5.0)(torch.tensor([history]), logits.clone())
    state = SamplerState.of(SamplingParams(temperature=0, repetition_penalty=5.0))
    assert sample(logits, [state], [TokenHistory(history)]) == [int(expected.argmax())]
    assert int(expected.argmax()) not in history


def test_min_p_keeps_what_is_near_the_most_likely() -> None:
    assert set(draws(min_p=0.29)) == {0, 1, 2}  # 0.15 is 0.3 of 0.5
    assert set(draws(min_p=0.31)) == {0, 1}
    assert set(draws(min_p=1.0)) == {0}


def test_min_p_counts_after_the_temperature_and_top_p() -> None:
    assert set(draws(min_p=0.31, temperature=2.0)) == {0, 1, 2, 3}
    assert set(draws(min_p=0.29, top_p=0.6)) == {0, 1}


def test_logits_are_not_changed() -> None:
    before = LOGITS.clone()
    draws(3, repetition_penalty=2.0, top_k=1)
    assert torch.equal(LOGITS, before)
