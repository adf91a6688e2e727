from typing import Any

import pytest
import torch

from llava_serve.engines.torch.penalties import TokenHistory, check_biases, penalise
from llava_serve.errors import InvalidField
from llava_serve.request import SamplingParams

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 3.0]])


def penalised(tokens: list[int], prompt_tokens: int = 0, **settings: Any) -> list[float]:
    history = TokenHistory(tokens, prompt_tokens)
    return penalise(LOGITS, [SamplingParams(**settings)], [history])[0].tolist()


def test_the_frequency_penalty_counts_each_time_in_the_answer() -> None:
    assert penalised([3, 1, 1, 2], 1, frequency_penalty=0.5) == [2.0, -2.0, 0.0, 3.0]


def test_the_presence_penalty_counts_once() -> None:
    assert penalised([3, 1, 1, 2], 1, presence_penalty=0.5) == [2.0, -1.5, 0.0, 3.0]


def test_both_together_and_below_zero() -> None:
    both = penalised([0, 0], frequency_penalty=-1.0, presence_penalty=0.5)
    assert both == [2.0 - 0.5 + 2.0, -1.0, 0.5, 3.0]


def test_before_the_first_token_there_is_nothing_to_penalise() -> None:
    assert penalised([3, 3], 2, frequency_penalty=2.0, presence_penalty=2.0) == LOGITS[0].tolist()


def test_a_bias_is_added() -> None:
    assert penalised([], logit_bias=((0, -100.0), (2, 1.5))) == [-98.0, -1.0, 2.0, 3.0]


def test_penalties_act_on_biased_logits() -> None:
    assert penalised([1], logit_bias=((1, 5.0),), repetition_penalty=2.0)[1] == 2.0


def test_neutral_values_copy_nothing() -> None:
    assert penalise(LOGITS, [SamplingParams()], [TokenHistory([1])]) is LOGITS


def test_what_was_given_is_left_as_it_is() -> None:
    before = LOGITS.clone()
    penalised([1], frequency_penalty=1.0, logit_bias=((0, 1.0),), repetition_penalty=2.0)
    assert torch.equal(LOGITS, before)


def test_a_token_that_does_not_exist_is_refused_by_its_number() -> None:
    check_biases(SamplingParams(logit_bias=((3, 1.0),)), 4)
    with pytest.raises(InvalidField, match=r"logit_bias.*token 4; the last one is 3"):
        check_biases(SamplingParams(logit_bias=((4, 1.0), (0, 1.0))), 4)
