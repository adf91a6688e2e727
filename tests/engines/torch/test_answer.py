from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from llava_serve.engines.torch.answer import Answer
from llava_serve.engines.torch.sampling import Scores
from llava_serve.request import FinishReason, SamplingParams


@pytest.fixture
def tokenizer(tokenizers: dict[str, PreTrainedTokenizerBase]) -> PreTrainedTokenizerBase:
    return tokenizers["bytes"]


def run(
    tokenizer: PreTrainedTokenizerBase, text: str, max_new_tokens: int = 100, **settings: Any
) -> tuple[str, FinishReason | None, int]:
    """Say `text` and then the end token, and return what came out until the answer ended."""
    template_stops = settings.pop("template_stops", ())
    end = tokenizer.eos_token_id
    answer = Answer(tokenizer, SamplingParams(**settings), {end}, template_stops, max_new_tokens)
    shown = ""
    for token in [*tokenizer(text, add_special_tokens=False).input_ids, end]:
        shown += answer.push(token)
        if answer.finish_reason is not None:
            break
    return shown, answer.finish_reason, answer.token_count


def test_the_end_token_ends_the_answer_and_counts(tokenizer: PreTrainedTokenizerBase) -> None:
    assert run(tokenizer, "hello") == ("hello", "stop", 6)


def test_the_limit_ends_the_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    assert run(tokenizer, "hello", max_new_tokens=3) == ("hel", "length", 3)


def test_the_end_token_at_the_limit_is_a_stop(tokenizer: PreTrainedTokenizerBase) -> None:
    assert run(tokenizer, "hi", max_new_tokens=3) == ("hi", "stop", 3)


def test_a_stop_string_over_several_tokens_is_cut_off(tokenizer: PreTrainedTokenizerBase) -> None:
    assert run(tokenizer, "one###two", stop=("###",)) == ("one", "stop", 6)


def test_the_template_s_stop_counts_as_well(tokenizer: PreTrainedTokenizerBase) -> None:
    shown, reason, _ = run(tokenizer, "one###two", template_stops=("###",))
    assert (shown, reason) == ("one", "stop")


def test_half_a_stop_string_at_the_end_is_shown(tokenizer: PreTrainedTokenizerBase) -> None:
    assert run(tokenizer, "one##", stop=("###",))[:2] == ("one##", "stop")
    assert run(tokenizer, "one##x", stop=("###",), max_new_tokens=5)[:2] == ("one##", "length")


def test_a_stop_that_is_a_special_token_works_by_its_id(tokenizer: PreTrainedTokenizerBase) -> None:
    shown, reason, _ = run(tokenizer, "a<|im_start|>b", stop=("<|im_start|>",))
    assert (shown, reason) == ("a", "stop")


def test_an_unfinished_character_at_the_limit_is_not_lost(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert run(tokenizer, "a😀", max_new_tokens=3) == ("a\ufffd", "length", 3)


def test_logprobs_come_with_their_text_and_not_of_what_is_cut_off(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    answer = Answer(tokenizer, SamplingParams(stop=("abc",)), set(), (), 100)
    told = []
    for token in tokenizer("xababc", add_special_tokens=False).input_ids:
        answer.score(token, Scores(-0.5, ()))
        if text := answer.push(token):
            told.append((text, [one.text for one in answer.take_logprobs()]))
    assert told == [("x", ["x"]), ("ab", ["a", "b"])]
    assert answer.finish_reason == "stop"
