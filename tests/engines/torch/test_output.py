import random
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from llava_serve.engines.torch.output import Detokenizer, OutputProcessor, bytes_of
from llava_serve.engines.torch.sampling import SampledLogprobs
from llava_serve.request import FinishReason, SamplingParams

TEXTS = [
    "hello wo hello",
    " leading",
    "a  b   c",
    "日本語 ñ é",
    "👩‍👩‍👧 family 😀!",
    "line\n\nline",
    "x",
]


def deltas(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> list[str]:
    stream = Detokenizer(tokenizer)
    return [*(stream.push(token) for token in tokens), stream.flush()]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_the_deltas_together_are_the_decoded_whole(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str, text: str
) -> None:
    tokenizer = tokenizers[kind]
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    assert "".join(deltas(tokenizer, tokens)) == tokenizer.decode(tokens) == text


@pytest.mark.parametrize("cut", range(1, 12))
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_a_text_that_goes_on_has_no_seam(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str, text: str, cut: int
) -> None:
    tokenizer = tokenizers[kind]
    tokens = tokenizer("said before: " + text, add_special_tokens=False).input_ids
    before = str(tokenizer.decode(tokens[:-cut]))
    if before.endswith("\ufffd"):
        pytest.skip("nobody can send half a character")
    stream = Detokenizer(tokenizer)
    stream.continue_from(tokens[:-cut])
    after = "".join([*map(stream.push, tokens[-cut:]), stream.flush()])
    assert before + after == "said before: " + text


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_special_tokens_and_pictures_before_a_text_that_goes_on_do_not_matter(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str
) -> None:
    tokenizer = tokenizers[kind]
    said, new = (tokenizer(text, add_special_tokens=False).input_ids for text in ("he", "a hello"))
    stream = Detokenizer(tokenizer)
    stream.continue_from([-200, *tokenizer.all_special_ids, *said])
    shown = "".join([*map(stream.push, new), stream.flush()])
    assert shown == (" a hello" if kind == "pieces" else "a hello")


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_half_characters_wait(tokenizers: dict[str, PreTrainedTokenizerBase], kind: str) -> None:
    tokenizer = tokenizers[kind]
    tokens = tokenizer("a😀b", add_special_tokens=False).input_ids
    shown = [delta for delta in deltas(tokenizer, tokens) if delta]
    assert "".join(shown) == "a😀b"
    assert all("\ufffd" not in delta for delta in shown)
    assert len(shown) == 3


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("seed", range(20))
def test_any_tokens_give_the_decoded_whole(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str, seed: int
) -> None:
    """Tokens in any order, special ones among them: what a bad model may say.

    Bytes of the second kind are left out: its decoder takes back good characters when a bad byte
    follows them, which a stream cannot.
    """
    tokenizer = tokenizers[kind]
    vocabulary = [i for text, i in tokenizer.get_vocab().items() if not text.startswith("<0x")]
    tokens = random.Random(seed).choices(sorted(vocabulary), k=60)
    whole = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert "".join(deltas(tokenizer, tokens)) == whole


def test_an_unfinished_character_shows_at_the_end(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    tokenizer = tokenizers["bytes"]
    tokens = tokenizer("a😀", add_special_tokens=False).input_ids[:-1]
    assert deltas(tokenizer, tokens)[-1] == "\ufffd"


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_the_bytes_of_the_tokens_are_those_of_the_text(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str, text: str
) -> None:
    tokenizer = tokenizers[kind]
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    data = b"".join(bytes_of(tokenizer, token) for token in tokens)
    space = " " if kind == "pieces" else ""  # sentencepiece sets one before the first word
    assert data.decode() == space + text


def test_a_token_beyond_the_vocabulary_has_no_bytes(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    assert bytes_of(tokenizers["bytes"], 10**6) == b""


@pytest.fixture
def tokenizer(tokenizers: dict[str, PreTrainedTokenizerBase]) -> PreTrainedTokenizerBase:
    return tokenizers["bytes"]


def run(
    tokenizer: PreTrainedTokenizerBase, text: str, max_new_tokens: int = 100, **settings: Any
) -> tuple[str, FinishReason | None, int]:
    """Say `text` and then the end token, and return what came out until the answer ended."""
    template_stops = settings.pop("template_stops", ())
    end = tokenizer.eos_token_id
    output = OutputProcessor(
        tokenizer, SamplingParams(**settings), {end}, template_stops, max_new_tokens
    )
    shown = ""
    for token in [*tokenizer(text, add_special_tokens=False).input_ids, end]:
        shown += output.process(token)
        if output.finish_reason is not None:
            break
    return shown, output.finish_reason, output.num_tokens


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
    output = OutputProcessor(tokenizer, SamplingParams(stop=("abc",)), set(), (), 100)
    told = []
    for token in tokenizer("xababc", add_special_tokens=False).input_ids:
        output.add_logprobs(token, SampledLogprobs(-0.5, ()))
        if text := output.process(token):
            told.append((text, [one.text for one in output.take_logprobs()]))
    assert told == [("x", ["x"]), ("ab", ["a", "b"])]
    assert output.finish_reason == "stop"
