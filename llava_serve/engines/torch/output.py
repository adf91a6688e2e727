"""Output processor of one sequence: tokens are detokenised, stops held back, the end noticed."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from llava_serve.chat.stops import StopMatcher
from llava_serve.engines.logprobs import LogprobBuffer
from llava_serve.engines.torch.sampling import SampledLogprobs
from llava_serve.request import FinishReason, SamplingParams, TokenLogprob

_UNFINISHED = "\ufffd"  # what a decoder shows for bytes that are no character yet
_CONTEXT = 8  # tokens before a text that goes on: more than one character has
# How vocabularies write bytes that are no text alone: sentencepiece's, and byte-level ones.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]


def bytes_of(tokenizer: PreTrainedTokenizerBase, token: int) -> bytes:
    """Return the bytes of one token, which may be part of a character only."""
    entry: str | None = tokenizer.convert_ids_to_tokens([token])[0]
    if entry is None:  # the model's vocabulary may have more rows than the tokenizer
        return b""
    if byte := _BYTE.fullmatch(entry):
        return bytes.fromhex(byte[1])
    if "\u2581" in entry:  # sentencepiece's mark of a space, which decoding one token alone loses
        return entry.replace("\u2581", " ").encode()
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    if _UNFINISHED in text:
        return bytes(_BYTES[letter] for letter in entry)
    return text.encode()


class Detokenizer:
    """Decodes one answer token by token; the deltas joined equal all tokens decoded at once.

    Each step decodes a short window and takes what is new in it, because sentencepiece drops the
    space before a first token and bytes of one character may be several tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._silent = {token_id: "" for token_id, token in added.items() if token.special}
        self._tokens: list[int] = []
        self._start = 0  # of the window
        self._shown = 0  # tokens whose text is out

    def continue_from(self, tokens: Sequence[int]) -> None:
        """Decode behind `tokens`, whose text is out: the first new one keeps its space."""
        context = [
            token for token in tokens[-_CONTEXT:] if token >= 0 and token not in self._silent
        ]
        while context and self._decode(context).startswith(_UNFINISHED):
            del context[0]  # it is the rest of a character
        self._tokens, self._shown = context, len(context)

    def show(self, special: str) -> None:
        """Show a special token, if `special` is one, as its name; without this it has no text."""
        token = self._tokenizer.get_added_vocab().get(special)
        if token in self._silent:
            self._silent[token] = special

    def push(self, token: int) -> str:
        """Take the next token and return the text that is certain."""
        if token in self._silent:  # else a run of them would make the window ever longer
            return self._silent[token]
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


class OutputProcessor:
    """Turns the tokens of one answer into text; `finish_reason` is set when it is complete."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        sampling: SamplingParams,
        stop_ids: Collection[int],
        template_stops: tuple[str, ...],
        max_new_tokens: int,
    ) -> None:
        self.finish_reason: FinishReason | None = None
        self.num_tokens = 0
        self._max_new_tokens = max_new_tokens
        ends = () if sampling.ignore_eos else template_stops
        stops = (*sampling.stop, *ends)
        # A stop that is a special token never shows in the text, so its id must end the answer.
        vocabulary = tokenizer.get_added_vocab()
        self._stop_ids = {vocabulary[stop] for stop in stops if stop in vocabulary}
        if not sampling.ignore_eos:
            self._stop_ids.update(stop_ids)
        self._min_new_tokens = sampling.min_new_tokens
        self._tokenizer = tokenizer
        self._logprobs = LogprobBuffer()
        self._detokenizer = Detokenizer(tokenizer)
        self._matcher = StopMatcher(stops)

    def continue_from(self, tokens: Sequence[int]) -> None:
        """Go on with a text whose tokens end the prompt."""
        self._detokenizer.continue_from(tokens)

    def show(self, special: str) -> None:
        """Show a special token, if `special` is one."""
        self._detokenizer.show(special)

    @property
    def stop(self) -> str | None:
        """The stop string that ended the answer."""
        return self._matcher.found

    @property
    def num_tokens_left(self) -> int:
        """How many tokens the answer may still have."""
        return self._max_new_tokens - self.num_tokens

    @property
    def masked_tokens(self) -> Collection[int]:
        """Tokens that must not come next, because they would end the answer too early."""
        return self._stop_ids if self.num_tokens < self._min_new_tokens else ()

    def process(self, token: int, *, is_last: bool = False) -> str:
        """Take the next token and return the text it makes certain; none follows the last one."""
        self.num_tokens += 1
        if token in self._stop_ids:
            return self._finish("stop")
        text = self._matcher.feed(self._detokenizer.push(token))
        if self._matcher.stopped:
            self.finish_reason = "stop"
        elif is_last:
            text += self._finish("stop")
        elif self.num_tokens >= self._max_new_tokens:
            text += self._finish("length")
        return text

    def add_logprobs(self, token: int, logprobs: SampledLogprobs) -> None:
        """Keep the log probabilities of the token that is processed next."""
        if token not in self._stop_ids:
            top = tuple(self._named(other, logprob) for other, logprob in logprobs.top)
            self._logprobs.add([replace(self._named(token, logprobs.sampled), top=top)])

    def take_logprobs(self) -> tuple[TokenLogprob, ...]:
        """Return those of the text that `process` has just returned."""
        return self._logprobs.take(len(self._matcher.unshown.encode()))

    def _named(self, token: int, logprob: float) -> TokenLogprob:
        data = bytes_of(self._tokenizer, token)
        return TokenLogprob(data.decode(errors="replace"), data, logprob)

    def _finish(self, reason: FinishReason) -> str:
        text = self._matcher.feed(self._detokenizer.flush())
        self.finish_reason = "stop" if self._matcher.stopped else reason
        return text + self._matcher.flush()
