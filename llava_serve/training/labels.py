"""Labels: the tokens of a conversation that a model learns to write.

They follow from how the prompt is made: what stands between the end of a prompt that asks for an
answer and the token that ends the answer is learnt, and nothing else.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from llava_serve.chat.markers import AnswerText, Segment, TemplateText
from llava_serve.chat.rendering import PromptFormat
from llava_serve.chat.templates import TEMPLATES
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.prompt_tokenizer import PlacedItems, PromptTokenizer
from llava_serve.engines.torch.vision import Item
from llava_serve.errors import CheckpointError, InvalidField
from llava_serve.request import Conversation, Message

IGNORED = -100  # what transformers and torch leave out of a loss
_QWEN = TEMPLATES["qwen_1_5"]
_MARKS = ("<|im_start|>", "<|im_end|>")


@dataclass(frozen=True, slots=True)
class LabelledPrompt:
    """A conversation with its answers; of each item the label, which is the token or `IGNORED`."""

    items: list[Item]
    labels: list[int]


class AnswerLabeller:
    """Labels conversations for one checkpoint.

    With `trains_marks` the marks of turns are learnt too, all of them and every line break, as
    LLaVA-NeXT does it for Qwen. Without a word on it this goes for the template `qwen_1_5` alone.

    Raises:
        CheckpointError: the tokenizer cannot tell where a token is from, or ends no answer.

    Source: LLaVA-VL/LLaVA-NeXT@df17966, llava/train/train.py::preprocess_qwen.
    """

    def __init__(self, loaded: LoadedModel, *, trains_marks: bool | None = None) -> None:
        self._tokenizer = PromptTokenizer(loaded)
        if not self._tokenizer.tells_places:
            raise CheckpointError(
                f"the tokenizer of {loaded.name} does not tell which characters a token is of, so "
                "answers cannot be told from questions. Take a checkpoint with a tokenizer.json."
            )
        self._stop = _stop_token(loaded)
        ends = {*loaded.format.stops, *_texts_of(loaded, loaded.stop_ids)}
        self._ends = re.compile("|".join(map(re.escape, sorted(ends, key=len, reverse=True))))
        self._lead = _lead(loaded.format)
        self._marks: frozenset[int] = frozenset()
        if trains_marks if trains_marks is not None else loaded.format.name == _QWEN.name:
            self._lead = _QWEN.name_of("assistant")
            self._marks = frozenset(self._ids_of_marks(loaded))

    def label(self, conversation: Conversation) -> LabelledPrompt:
        """Tokenise a conversation that ends with an answer.

        Raises:
            BadRequest: it cannot be rendered, or does not end with an answer.
        """
        if not conversation.messages or conversation.messages[-1].role != "assistant":
            raise InvalidField("messages", "the last one is no answer")
        shown = list(self._shown(self._tokenizer.render_answered(conversation)))
        placed = self._tokenizer.place([segment for segment, _ in shown])
        learnt = [is_learnt for _, is_learnt in shown]
        labels = [
            item if isinstance(item, int) and (is_learnt or item in self._marks) else IGNORED
            for item, is_learnt in _learnt_items(placed, learnt)
        ]
        return LabelledPrompt(placed.items, labels)

    def _shown(self, segments: list[Segment]) -> Iterator[tuple[Segment, bool]]:
        """Cut the template's text where learning begins and ends; tell what is learnt.

        A template that shows an answer without what ends it gets that token behind the answer.
        """
        for i, segment in enumerate(segments):
            before, after = segments[i - 1] if i else None, [*segments[i + 1 :], None][0]
            if isinstance(segment, AnswerText):
                yield segment, True
                if not isinstance(after, AnswerText | TemplateText):
                    yield TemplateText(self._stop), True
                continue
            if not isinstance(segment, TemplateText):
                yield segment, False
                continue
            text = segment.text
            if isinstance(before, AnswerText):
                end = self._ends.search(text)
                yield TemplateText(text[: end.end()] if end else self._stop), True
                text = text[end.end() :] if end else text
            lead = self._lead if isinstance(after, AnswerText) else ""
            lead = lead if text.endswith(lead) else ""
            yield TemplateText(text.removesuffix(lead)), False
            yield TemplateText(lead), True

    def _ids_of_marks(self, loaded: LoadedModel) -> Iterator[int]:
        vocabulary = loaded.tokenizer.get_vocab()
        yield from (vocabulary[mark] for mark in _MARKS if mark in vocabulary)
        yield from self._tokenizer.encode("\n")


def _learnt_items(placed: PlacedItems, learnt: list[bool]) -> Iterator[tuple[Item, bool]]:
    """Tell of each item whether a character of it is in a segment that is learnt.

    Tokenizers leave spaces out of the places they tell, so a token begins where the last one ended.
    One without characters is of the segment that begins or goes on where it stands.
    """
    places = zip(pairwise(placed.bounds), learnt, strict=True)
    ranges = [place for place, is_learnt in places if is_learnt and place[0] < place[1]]
    i, last_end = 0, 0
    for item, (start, end) in zip(placed.items, placed.places, strict=True):
        if start < 0:
            yield item, False
            continue
        start = min(start, last_end)
        last_end = max(last_end, end)
        while i < len(ranges) and ranges[i][1] <= start:
            i += 1
        yield item, i < len(ranges) and ranges[i][0] < max(end, start + 1)


def _lead(form: PromptFormat) -> str:
    """Return what a template shows of an answer before its text, such as a space: it is learnt."""
    question = Message("user", ("?",))
    answered = (question, Message("assistant", ("!",)))
    try:
        *_, opened = form.render(Conversation((question,)))
        segments = form.render_answered(Conversation(answered))
    except InvalidField:
        return ""
    at = segments.index(AnswerText("!"))
    before = segments[at - 1] if at else None
    if not (isinstance(opened, TemplateText) and isinstance(before, TemplateText)):
        return ""
    return before.text.removeprefix(opened.text) if before.text.startswith(opened.text) else ""


def _stop_token(loaded: LoadedModel) -> str:
    """Return the text of the token that ends an answer. Raises: CheckpointError."""
    eos = loaded.tokenizer.eos_token_id
    ids = [eos] if eos in loaded.stop_ids else sorted(loaded.stop_ids)
    for text in _texts_of(loaded, ids):
        return text
    raise CheckpointError(
        f"{loaded.name} has no token that ends an answer: set eos_token_id in "
        "generation_config.json."
    )


def _texts_of(loaded: LoadedModel, ids: Iterable[int]) -> list[str]:
    tokens = (loaded.tokenizer.convert_ids_to_tokens(each) for each in ids)
    return [str(token) for token in tokens if token]
