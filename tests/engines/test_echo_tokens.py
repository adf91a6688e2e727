"""The echo engine's words have the same numbers in every process, and a bounded memory."""

import PIL.Image
import pytest

from llava_serve.engines.echo_tokens import IMAGE_TOKEN, WordVocabulary
from llava_serve.errors import InvalidField
from llava_serve.request import (
    Conversation,
    DetokenizeRequest,
    Image,
    Message,
    ReadyPrompt,
    TokenizeRequest,
    Video,
)


def tokens_of(vocabulary: WordVocabulary, text: str) -> list[int]:
    return vocabulary.tokenize(TokenizeRequest(prompt=ReadyPrompt(text)), 10).tokens


def test_a_word_has_one_number_everywhere() -> None:
    assert tokens_of(WordVocabulary(), "one two") == tokens_of(WordVocabulary(), "one two")


def test_each_image_and_frame_stands_where_it_was_put() -> None:
    image = Image(PIL.Image.new("RGB", (2, 2)), "sha")
    parts = ("one ", image, Video((image, image)), "two")
    asked = TokenizeRequest(prompt=Conversation((Message("user", parts),)))
    vocabulary = WordVocabulary()
    tokens = vocabulary.tokenize(asked, 10).tokens
    assert tokens[1:4] == [IMAGE_TOKEN] * 3
    told = vocabulary.detokenize(DetokenizeRequest(tuple(tokens)))
    assert told.prompt == "one <image><image><image>two"


def test_the_words_that_came_last_are_known() -> None:
    vocabulary = WordVocabulary()
    (first,) = tokens_of(vocabulary, "first")
    for number in range(60):
        tokens_of(vocabulary, str(number) + "x" * 100_000)
    with pytest.raises(InvalidField, match=str(first)):
        vocabulary.detokenize(DetokenizeRequest((first,)))
    (last,) = tokens_of(vocabulary, "last")
    assert vocabulary.detokenize(DetokenizeRequest((last,))).prompt == "last"
