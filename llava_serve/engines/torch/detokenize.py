"""Tokens become text as they come: no half characters, no lost spaces."""

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

_UNFINISHED = "\ufffd"  # what a decoder shows for bytes that are no character yet
_CONTEXT = 8  # tokens before a text that goes on: more than one character has


# How vocabularies write bytes that are no text alone: sentencepiece's, and byte-level ones.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]


def bytes_of(tokenizer: PreTrainedTokenizerBase, token: int) -> bytes:
    """Return what a token alone stands for, which may be part of a character only."""
    piece: str | None = tokenizer.convert_ids_to_tokens([token])[0]
    if piece is None:  # the model's vocabulary may have more rows than the tokenizer
        return b""
    if byte := _BYTE.fullmatch(piece):
        return bytes.fromhex(byte[1])
    if "\u2581" in piece:  # sentencepiece's mark of a space, which decoding one token alone loses
        return piece.replace("\u2581", " ").encode()
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    if _UNFINISHED in text:
        return bytes(_BYTES[letter] for letter in piece)
    return text.encode()


class Detokenizer:
    """Decodes one answer; the deltas together equal all tokens decoded at once, if they are text.

    Each step decodes a short window and takes what is new in it, because sentencepiece drops the
    space before a first token and bytes of one character may be several tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._silent = {token_id for token_id, token in added.items() if token.special}
        self._tokens: list[int] = []
        self._start = 0  # of the window
        self._shown = 0  # tokens whose text is out

    def follow(self, tokens: Sequence[int]) -> None:
        """Go on behind `tokens`, whose text is out: the first new one keeps its space."""
        context = [
            token for token in tokens[-_CONTEXT:] if token >= 0 and token not in self._silent
        ]
        while context and self._decode(context).startswith(_UNFINISHED):
            del context[0]  # it is the rest of a character
        self._tokens, self._shown = context, len(context)

    def push(self, token: int) -> str:
        """Take the next token and return the text that is certain."""
        if token in self._silent:  # else a run of them would make the window ever longer
            return ""
        self._tokens.append(token)
        return self._advance(is_last=False)

    def flush(self) -> str:
        """Return what is left; bytes that never became a character show as U+FFFD."""
        return self._advance(is_last=True)

    def _advance(self, is_last: bool) -> str:
        before = self._decode(self._tokens[self._start : self._shown])
        text = self._decode(self._tokens[self._start :])
        if len(text) <= len(before) or (text.endswith(_UNFINISHED) and not is_last):
            return ""
        self._start, self._shown = self._shown, len(self._tokens)
        return text[len(before) :]

    def _decode(self, tokens: list[int]) -> str:
        text = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text)
