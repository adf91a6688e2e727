"""Texts beyond the context are refused by length or slice by slice, and who leaves ends it."""

import threading

import pytest

from llava_serve.engines.text_length import TextLengthCheck, check_length, texts_of
from llava_serve.errors import ShuttingDown, TextTooLong
from llava_serve.request import Conversation, Message, ReadyPrompt

VOCABULARY = ["a", "bcd", "▁"]
CONTEXT = 20_000


class Encoder:
    """A token for each character; remembers how long the texts were."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.stopped = threading.Event()

    def __call__(self, text: str) -> list[int]:
        self.lengths.append(len(text))
        return [0] * len(text)


def bound(encoder: Encoder) -> TextLengthCheck:
    return TextLengthCheck(encoder, VOCABULARY, CONTEXT)


def test_a_text_of_too_many_bytes_is_refused_before_anything_is_tokenised() -> None:
    encoder = Encoder()
    with pytest.raises(TextTooLong, match=r"2000000 characters.*20000 tokens") as refused:
        bound(encoder).check(["a" * 2_000_000], encoder.stopped)
    assert not encoder.lengths
    assert refused.value.code == "context_length_exceeded"


def test_a_text_of_too_many_tokens_is_refused_slice_by_slice() -> None:
    encoder = Encoder()
    with pytest.raises(TextTooLong, match="more than 20000 tokens"):
        bound(encoder).check(["a" * 90_000, "a" * 50_000], encoder.stopped)
    assert sum(encoder.lengths) <= 3 * CONTEXT
    assert max(encoder.lengths) < CONTEXT


def test_a_text_that_may_fit_passes() -> None:
    encoder = Encoder()
    bound(encoder).check(["a" * 15_000, "a" * 15_000], encoder.stopped)


def test_a_short_text_is_not_read_twice() -> None:
    encoder = Encoder()
    bound(encoder).check(["a" * 100], encoder.stopped)
    assert not encoder.lengths


def test_whoever_leaves_ends_it_within_a_slice() -> None:
    encoder = Encoder()
    encoder.stopped.set()
    with pytest.raises(ShuttingDown):
        bound(encoder).check(["a" * 30_000], encoder.stopped)
    assert not encoder.lengths


def test_without_a_vocabulary_the_longest_token_of_all_counts() -> None:
    check_length(["a" * 300_000], context=1000)
    with pytest.raises(TextTooLong):
        check_length(["a" * 400_000], context=1000)


def test_the_texts_of_all_messages_count() -> None:
    said = Conversation((Message("system", ("one",)), Message("user", ("two", "three"))))
    assert texts_of(said) == ["one", "two", "three"]
    assert texts_of(ReadyPrompt("ready")) == ["ready"]
