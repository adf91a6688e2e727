"""Tokens of the echo engine for clients: a word with the white space behind it is one of them."""

import re
import zlib
from collections.abc import Iterator

from cachetools import LRUCache

from llava_serve.errors import InvalidField
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import (
    IMAGE_PLACEHOLDER,
    Conversation,
    DetokenizeRequest,
    Image,
    ReadyPrompt,
    TokenizeRequest,
)

IMAGE_TOKEN = 0
_KEPT_CHARACTERS = 5_000_000
_WORD = re.compile(r"\S+\s*")


class WordVocabulary:
    """Gives each word a number by its letters, and knows the words that it met last by theirs."""

    def __init__(self) -> None:
        self._words: LRUCache[int, str] = LRUCache(_KEPT_CHARACTERS, getsizeof=_size)

    def tokenize(self, request: TokenizeRequest, context_length: int) -> Tokenization:
        """Tell the words of a prompt; each image or frame is a token of its own."""
        words = list(_words(request.prompt))
        return Tokenization(
            count=len(words),
            max_model_len=context_length,
            tokens=[self._number(word) for word in words],
            token_strs=words if request.with_strings else None,
        )

    def detokenize(self, request: DetokenizeRequest) -> Detokenization:
        """Tell the text of words. Raises: InvalidField, for a word that it does not know."""
        words = (self._word(token, request.field) for token in request.tokens)
        return Detokenization(prompt="".join(words))

    def _number(self, word: str) -> int:
        if word == IMAGE_PLACEHOLDER:
            return IMAGE_TOKEN
        number = (zlib.crc32(word.encode()) >> 1) or 1
        if _size(word) <= _KEPT_CHARACTERS:
            self._words[number] = word
        return number

    def _word(self, number: int, field: str) -> str:
        if number == IMAGE_TOKEN:
            return IMAGE_PLACEHOLDER
        if number not in self._words:
            raise InvalidField(field, f"{number} is no token that this echo engine has made")
        return self._words[number]


def _size(word: str) -> int:
    return 100 + len(word)  # what an entry takes, about


def _words(prompt: Conversation | ReadyPrompt) -> Iterator[str]:
    if isinstance(prompt, ReadyPrompt):
        yield from _WORD.findall(prompt.text)
        return
    for message in prompt.messages:
        for part in message.parts:
            if isinstance(part, str):
                yield from _WORD.findall(part)
            else:
                yield from [IMAGE_PLACEHOLDER] * (
                    1 if isinstance(part, Image) else len(part.frames)
                )
