"""Grammars: structured outputs (of a JSON schema, a regular expression, tools) as token masks.

The library is `llguidance`. It and `xgrammar` are what SGLang and vLLM use; README, "Structured
outputs", has what was measured of both.
"""

import json
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper, regex_to_lark
from numpy.typing import NDArray

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.grammar_trial import LIMITS, complaint_of
from llava_serve.engines.torch.json_schema import check_schema, closed
from llava_serve.engines.torch.output import bytes_of
from llava_serve.engines.torch.tool_grammar import ToolGrammar, tools_of
from llava_serve.errors import InvalidField
from llava_serve.request import GenerateRequest, SamplingParams

MOST_BYTES = 64 * 1024  # of a schema or an expression
_KEPT = 16  # grammars
# Between two parts of JSON: a space, or a new line indented by at most so much. Without a bound a
# model that is at a loss writes spaces until its tokens are spent.
_WHITESPACE = r"( |\n {0,32})"
_SCHEMA_OPTIONS = {"lenient": False, "coerce_one_of": False, "whitespace_pattern": _WHITESPACE}
# Every tokenisation of a text is allowed, so that the model chooses the one it was trained with.
_HEAD = '%llguidance {"no_forcing": true}\n'


class GrammarMatcher:
    """Where one answer stands in its grammar."""

    def __init__(
        self,
        field: str,
        matcher: LLMatcher,
        ends: Collection[int],
        *,
        vocabulary: int,
        ignores_ends: bool,
    ) -> None:
        """The grammar is of the request's `field`; `ends` are the tokens that end an answer.

        The matcher knows `vocabulary` tokens.
        """
        self.ends = ends
        self._bits = np.zeros(4 * ((vocabulary + 31) // 32), dtype=np.uint8)  # words of 32 bits
        self._field = field
        self._matcher = matcher
        self._ignores_ends = ignores_ends

    @property
    def is_complete(self) -> bool:
        """Whether the answer is complete by the grammar, and nothing can follow."""
        return bool(self._matcher.is_stopped())

    def accept(self, token: int) -> None:
        """Take the answer's next token. Raises: InvalidField, if the grammar does not allow it."""
        if not self._matcher.consume_token(token):
            raise self._failure()

    def allowed_tokens(self, masked: Collection[int]) -> NDArray[np.uint8]:
        """Return 1 for each token that may come next; (vocabulary,) or somewhat longer.

        Those of `masked` may not, unless nothing else may.

        Raises:
            InvalidField: the grammar is too complex here, or no token continues it.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        tokens = np.unpackbits(self._bits, bitorder="little")
        if self._matcher.is_error() or not tokens.any():
            raise self._failure()
        ends = self.ends if self._ignores_ends else ()
        withheld = [token for token in (*masked, *ends) if token < len(tokens)]
        were_allowed = tokens[withheld]
        tokens[withheld] = 0
        if not tokens.any():
            tokens[withheld] = were_allowed
        return tokens

    def _failure(self) -> InvalidField:
        reason = _reason(self._matcher.get_error()) or "no token of this model continues it"
        return InvalidField(self._field, f"cannot be followed any further: {reason}")


class GrammarCompiler:
    """Compiles the grammars of an engine's requests; safe to call from any thread."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        embed: Any = loaded.model.get_input_embeddings()
        self._vocabulary: int = embed.num_embeddings
        added = loaded.tokenizer.get_added_vocab()
        stops = {added[stop] for stop in loaded.format.stops if stop in added}
        self._special = {
            token.content: number
            for number, token in loaded.tokenizer.added_tokens_decoder.items()
            if token.special and number < self._vocabulary
        }
        self._ends = frozenset(t for t in {*loaded.stop_ids, *stops} if t < self._vocabulary)
        self._compiled: LRUCache[str, LLMatcher] = LRUCache(_KEPT)
        self._tokenizer: LLTokenizer | None = None  # read once, when the first grammar comes
        self._lock = threading.Lock()

    def compile(self, request: GenerateRequest, _: threading.Event | None = None) -> GrammarMatcher:
        """Return a matcher for an answer as `request` asks for it.

        Raises:
            InvalidField: what it asks for cannot be compiled, or cannot be guaranteed.
        """
        field, grammar = self._grammar_of(request, self._special)
        with self._lock:
            compiled = self._compiled.get(grammar)
            self._tokenizer = tokenizer = self._tokenizer or self._read_tokenizer()
        if compiled is None:
            # The trial has no special tokens: it takes their names.
            if complaint := complaint_of(self._grammar_of(request, {})[1]):
                raise InvalidField(field, _reason(complaint))
            compiled = LLMatcher(tokenizer, grammar, log_level=0, limits=LIMITS)
            if compiled.is_error():
                raise InvalidField(field, _reason(compiled.get_error()))
        with self._lock:
            self._compiled[grammar] = compiled
            own = compiled.deep_copy()
        return GrammarMatcher(
            field,
            own,
            self._ends,
            vocabulary=tokenizer.vocab_size,
            ignores_ends=request.sampling.ignore_eos,
        )

    def _grammar_of(self, request: GenerateRequest, special: Mapping[str, int]) -> tuple[str, str]:
        """Return the field that asks for a grammar, and the grammar as the library reads it."""
        asked = _rule_of(request.sampling)
        calls = self._loaded.format.tool_calls
        if (tools := tools_of(request)) and calls is not None:
            rules = ToolGrammar(calls, special, _json_rule)
            text = asked and asked[1]
            field = asked[0] if asked else "tools"
            return field, _HEAD + rules.rules(tools, request.sampling.tool_choice, text)
        assert asked is not None
        field, rule = asked
        return field, f"{_HEAD}start: {rule}\n"

    def _read_tokenizer(self) -> LLTokenizer:
        tokenizer = self._loaded.tokenizer
        known = min(len(tokenizer), self._vocabulary)
        tokens = [bytes_of(tokenizer, token) for token in range(known)]
        # Rows of the vocabulary that no text has, and one more that stands for the end if none does
        tokens += [b""] * (self._vocabulary + 1 - known)
        added = tokenizer.added_tokens_decoder
        special = {token for token, each in added.items() if each.special}
        special |= {*tokenizer.all_special_ids, *self._ends, self._loaded.image_token_id}
        special |= {self._loaded.video_token_id or 0} | set(range(known, len(tokens)))
        ends = sorted(self._ends) or [self._vocabulary]
        source = _Vocabulary(tokens, sorted(t for t in special if 0 <= t < len(tokens)), ends[0])
        return LLTokenizer(TokenizerWrapper(source), eos_token=ends)


class _Vocabulary:
    """Tokens as the library reads them."""

    bos_token_id = None

    def __init__(self, tokens: list[bytes], special: list[int], end: int) -> None:
        self.tokens = tokens
        self.special_token_ids = special
        self.eos_token_id = end

    def __call__(self, text: bytes) -> list[int]:
        """Never asked for, because nothing is forced; bytes are the tokens there always are."""
        return [self.tokens.index(bytes([byte])) for byte in text]


@torch.inference_mode()
def constrain(
    logits: torch.Tensor,
    matchers: Sequence[GrammarMatcher | None],
    masked: Sequence[Collection[int]],
) -> torch.Tensor:
    """Make impossible what the grammar of a row does not allow.

    Args:
        logits: (batch, vocabulary); they stay as they are.
        matchers: one for each row that has a grammar.
        masked: tokens of each row that must not come next if another can.

    Raises:
        InvalidField: a grammar cannot be followed any further.
    """
    if not any(matchers):
        return logits
    vocabulary = logits.shape[-1]
    allowed = np.ones(logits.shape, dtype=np.bool_)
    for row, matcher, withheld in zip(allowed, matchers, masked, strict=True):
        if matcher is not None:
            tokens = matcher.allowed_tokens(withheld)[:vocabulary]
            row[:] = False  # also rows of the vocabulary that no token has
            row[: len(tokens)] = tokens
    return logits.masked_fill(~torch.from_numpy(allowed).to(logits.device), -torch.inf)


def _rule_of(sampling: SamplingParams) -> tuple[str, str] | None:
    """Return the field that the text is bound by, and its rule; None: nothing binds it."""
    if sampling.regex is not None:
        _check_size("regex", sampling.regex)
        # What \d, \w and \s stand for is ASCII, as in JSON schemas: all dialects agree on that.
        return "regex", f"/{regex_to_lark(sampling.regex, 'dws')}/"
    if sampling.json_schema is None:
        return None
    field = "response_format"
    return field, _json_rule(field, json.loads(sampling.json_schema))


def _json_rule(field: str, schema: Any) -> str:
    """Return what stands for JSON of the schema of a request's `field`. Raises: InvalidField."""
    _check_size(field, json.dumps(schema))
    check_schema(field, schema)
    return f"%json {json.dumps({**closed(schema), 'x-guidance': _SCHEMA_OPTIONS})}"


def _check_size(field: str, source: str) -> None:
    if (size := len(source.encode())) > MOST_BYTES:
        raise InvalidField(field, f"is {size} bytes long; at most {MOST_BYTES} are read")


def _reason(error: str) -> str:
    """Return what is the matter, without the library's view of the grammar."""
    if error.startswith("NoExtensionBias"):
        return "nothing matches it"
    head = re.split(r"\n *\d+ \|", error, maxsplit=1)[0].partition("\n<state>")[0]
    head = head.removesuffix("<non-verbose/>").partition("; consider making")[0]
    _, _, inner = head.rpartition("\nerror: ")
    head = re.sub(r"^at \d+\(\d+\): ", "", inner or head)
    return " ".join(head.removeprefix("failed to compile JSON schema: ").split())[:400]
