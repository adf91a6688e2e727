"""One answer as text: tokens in, deltas out, and when and why it ends."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from llava_serve.chat.stops import StopMatcher
from llava_serve.engines.logprobs import HeldLogprobs
from llava_serve.engines.torch.detokenize import Detokenizer, bytes_of
from llava_serve.engines.torch.sampling import Scores
from llava_serve.request import FinishReason, SamplingParams, TokenLogprob


class Answer:
    """Collects the tokens of one answer; `finish_reason` is set when it is complete."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        sampling: SamplingParams,
        stop_ids: Collection[int],
        template_stops: tuple[str, ...],
        max_new_tokens: int,
    ) -> None:
        self.finish_reason: FinishReason | None = None
        self.token_count = 0
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
        self._logprobs = HeldLogprobs()
        self._text = Detokenizer(tokenizer)
        self._matcher = StopMatcher(stops)

    def follow(self, tokens: Sequence[int]) -> None:
        """Go on with a text whose tokens end the prompt."""
        self._text.follow(tokens)

    @property
    def remaining(self) -> int:
        """How many tokens may still come."""
        return self._max_new_tokens - self.token_count

    @property
    def forbidden(self) -> Collection[int]:
        """Tokens that must not come next, because they would end the answer too early."""
        return self._stop_ids if self.token_count < self._min_new_tokens else ()

    def push(self, token: int) -> str:
        """Take the next token and return the text it makes certain."""
        self.token_count += 1
        if token in self._stop_ids:
            return self._finish("stop")
        text = self._matcher.feed(self._text.push(token))
        if self._matcher.stopped:
            self.finish_reason = "stop"
        elif self.token_count >= self._max_new_tokens:
            text += self._finish("length")
        return text

    def score(self, token: int, scores: Scores) -> None:
        """Keep the log probabilities of the token that is pushed next."""
        if token not in self._stop_ids:
            top = tuple(self._named(other, logprob) for other, logprob in scores.top)
            self._logprobs.add([replace(self._named(token, scores.chosen), top=top)])

    def take_logprobs(self) -> tuple[TokenLogprob, ...]:
        """Return what belongs to the text that `push` has just returned."""
        return self._logprobs.take(len(self._matcher.unshown.encode()))

    def _named(self, token: int, logprob: float) -> TokenLogprob:
        data = bytes_of(self._tokenizer, token)
        return TokenLogprob(data.decode(errors="replace"), data, logprob)

    def _finish(self, reason: FinishReason) -> str:
        text = self._matcher.feed(self._text.flush())
        self.finish_reason = "stop" if self._matcher.stopped else reason
        return text + self._matcher.flush()
