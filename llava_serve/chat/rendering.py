"""A conversation becomes a prompt in which what people said cannot pass for the template's words.

Templates never see the text of a message, only an unguessable marker for it; the text comes in
after rendering, as a segment of its own. So a placeholder in the rendered prompt is the template's.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile, zip_longest
from typing import Any

from jinja2 import TemplateError

from llava_serve.chat.markers import AnswerText, Markers, Part, Segment, ToolText
from llava_serve.chat.templates import Template, Turn
from llava_serve.chat.tool_calls import ToolCallFormat, learn_format
from llava_serve.chat.tool_rendering import Guard, shown_calls, shown_result, shown_tools
from llava_serve.errors import InvalidField
from llava_serve.request import Conversation, Image, Message, Video
from llava_serve.tools import Tool

# Renders messages in the form of transformers, with `add_generation_prompt` up to the answer.
ApplyTemplate = Callable[..., str]


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How a checkpoint's prompts are made.

    What `render` returns ends where the answer begins, or, of a conversation that `continues`, with
    its last text, as the template shows it and without what would end it. `render_answered` returns
    a conversation to learn from: the last message is an answer, and ended as all others are.

    `reason` says why it is this one. `per_chunk` says that the text between images is tokenised
    chunk by chunk, as LLaVA's own code does it; otherwise the prompt is tokenised as a whole, as
    transformers does it. `tool_calls` says how an answer calls tools; None: it cannot.
    """

    name: str
    render: Callable[[Conversation], list[Segment]]
    render_answered: Callable[[Conversation], list[Segment]]
    stops: tuple[str, ...]
    per_chunk: bool
    reason: str = ""
    tool_calls: ToolCallFormat | None = None


def from_chat_template(
    apply: ApplyTemplate,
    image_token: str = "<image>",
    video_token: str = "<video>",
    is_special: Callable[[str], bool] = bool,
) -> PromptFormat:
    """Make prompts with the checkpoint's own (jinja) template.

    `is_special` says whether a text has tokens in it that only a template may write.
    """
    kinds = frozenset(kind for kind in _EXAMPLES if _takes_parts(apply, kind))
    template = _ChatTemplate(apply, {Image: image_token, Video: video_token}, kinds)

    def render_example(messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> str:
        opens = messages[-1].role == "user"
        return template.render(messages, tools, Markers(), str, add_generation_prompt=opens)

    def render(conversation: Conversation, *, is_answered: bool = False) -> list[Segment]:
        markers = Markers()

        def guard(text: str) -> str:
            # Others stay: a template may look at types and names.
            return markers.mark(ToolText(text), may_be_lost=True) if is_special(text) else text

        opens = not (conversation.continues or is_answered)
        try:
            rendered = template.render(
                conversation.messages,
                conversation.tools,
                markers,
                guard,
                add_generation_prompt=opens,
            )
        except (TemplateError, TypeError) as exc:
            raise InvalidField(
                "messages", f"the checkpoint's chat template refuses them: {exc}"
            ) from exc
        rendered = markers.ending(rendered) if conversation.continues else rendered
        return markers.split(rendered, image_token, video_token)

    return PromptFormat(
        "the checkpoint's chat template",
        render,
        partial(render, is_answered=True),
        (),
        per_chunk=False,
        reason="it brings one",
        tool_calls=learn_format(render_example),
    )


@dataclass(frozen=True, slots=True)
class _ChatTemplate:
    """A jinja template, with `placeholders` for media where it takes no parts.

    It takes them in messages of `kinds_with_parts`, as `_kind_of` calls them: one that takes them
    in questions may still show a result as it is.
    """

    apply: ApplyTemplate
    placeholders: dict[type, str]
    kinds_with_parts: frozenset[str]

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        markers: Markers,
        guard: Guard,
        *,
        add_generation_prompt: bool,
    ) -> str:
        with_tools = {"tools": shown_tools(tools, guard)} if tools else {}
        shown = [
            {
                "role": message.role,
                "content": self._content(message, markers),
                **shown_calls(message, guard),
                **shown_result(message, messages),
            }
            for message in messages
        ]
        return self.apply(shown, **with_tools, add_generation_prompt=add_generation_prompt)

    def _content(self, message: Message, markers: Markers) -> str | list[dict[str, str]]:
        """Return content parts, or one string with placeholders for media."""
        # Llama's and Mistral's templates show nothing that an assistant said beside its calls.
        may_be_lost = bool(message.tool_calls)
        marked = [
            (type(part), markers.mark(_by_speaker(message, part), may_be_lost=may_be_lost))
            for part in message.parts
        ]
        if _kind_of(message) in self.kinds_with_parts:
            return [
                {"type": "text", "text": marker} if kind is str else {"type": _CONTENT_TYPES[kind]}
                for kind, marker in marked
            ]
        return "".join(
            marker if kind is str else self.placeholders[kind] + "\n" for kind, marker in marked
        )


_CONTENT_TYPES: dict[type, str] = {Image: "image", Video: "video"}
_PROBE = [{"type": "text", "text": "probe"}]
_CALL = {"id": "probe0000", "type": "function", "function": {"name": "probe", "arguments": {}}}
_CALLED = {"role": "assistant", "tool_calls": [_CALL]}
# Of each kind of message, a conversation that ends with one whose content is parts.
_EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "text": [{"role": "user", "content": _PROBE}],
    "call": [{"role": "user", "content": _PROBE}, {**_CALLED, "content": _PROBE}],
    "result": [
        {"role": "user", "content": _PROBE},
        {**_CALLED, "content": []},
        {"role": "tool", "content": _PROBE, "name": "probe", "tool_call_id": "probe0000"},
    ],
}


def _by_speaker(message: Message, part: str | Image | Video) -> Part:
    is_answer = isinstance(part, str) and message.role == "assistant"
    return AnswerText(str(part)) if is_answer else part


def _kind_of(message: Message) -> str:
    return "result" if message.role == "tool" else "call" if message.tool_calls else "text"


def _takes_parts(apply: ApplyTemplate, kind: str) -> bool:
    """Say whether the template understands a list of content parts, or only a string."""
    try:
        rendered = apply(_EXAMPLES[kind], add_generation_prompt=kind == "text")
    except (TemplateError, TypeError):
        return False
    return "probe" in rendered and "'text': 'probe'" not in rendered


def from_template(
    template: Template, marks: tuple[str, str] | None = None, reason: str = ""
) -> PromptFormat:
    """Make prompts with one of LLaVA's conversation templates.

    `marks` stand around every image where the model was trained with tokens for that.
    """

    def render(
        conversation: Conversation, row: Template = template, *, is_answered: bool = False
    ) -> list[Segment]:
        markers = Markers()
        body = _Body(row, marks, markers, is_answered)
        system = list(takewhile(lambda each: each.role == "system", conversation.messages))
        said = conversation.messages[len(system) :]
        if any(message.role == "system" for message in said):
            raise InvalidField("messages", "a system message must come before all others")
        if not said:
            raise InvalidField("messages", "there is no user message")
        opening = "\n".join(map(body.text, system)) or row.system
        turns = [turn for message in said for turn in body.turns(message)]
        if not (conversation.continues or is_answered):
            turns.append(("assistant", None))
        rendered = row.render(row, opening, turns)
        if conversation.continues:
            rendered = markers.ending(rendered)
        # No placeholder tokens here: images have markers of their own.
        return markers.split(rendered, *(secrets.token_hex(16) for _ in range(2)))

    trained = (
        replace(template, separators=("", template.stop)) if template.trains_captions else template
    )
    render_answered = partial(render, row=trained, is_answered=True)
    return PromptFormat(
        template.name, render, render_answered, (template.stop,), per_chunk=True, reason=reason
    )


@dataclass(frozen=True, slots=True)
class _Body:
    """Messages of one conversation as its template shows them."""

    template: Template
    marks: tuple[str, str] | None
    markers: Markers
    is_answered: bool

    def turns(self, message: Message) -> list[Turn]:
        role: Any = message.role
        if self.template.receipt is None or not message.media:
            return [(role, self.text(message))]
        shown: list[Turn] = [
            (role, "".join(map(self._shown, message.media))),
            ("assistant", self.template.receipt),
        ]
        if message.texts:
            shown.append((role, "".join(map(self.markers.mark, message.texts))))
        return shown

    def text(self, message: Message) -> str:
        parts = self._in_order(message)
        shown = []
        for part, following in zip_longest(parts, parts[1:]):
            if isinstance(part, str):
                shown.append(self.markers.mark(_by_speaker(message, part)))
                continue
            placeholder = self._shown(part)
            # Where images stand among the text, a line break sets off only the words behind one.
            is_set_off = isinstance(following, str) and not following[:1].isspace()
            if not (self.template.images_first or is_set_off):
                placeholder = placeholder.removesuffix("\n")
            shown.append(placeholder)
        return "".join(shown)

    def _in_order(self, message: Message) -> Sequence[str | Image | Video]:
        """Return the parts as the template has them.

        Source, for conversations to learn from: haotian-liu/LLaVA@c121f04 and LLaVA-VL/LLaVA-NeXT
        @df17966, llava/train/train.py::preprocess_multimodal, preprocess_plain.
        """
        if not message.media:
            return message.parts
        if self.is_answered and self.template.trains_captions:
            return message.media
        comes_first = self.template.images_first
        if self.is_answered and len(message.media) == 1 and isinstance(message.parts[0], str):
            comes_first = True
        if not comes_first:
            return message.parts
        said = "".join(message.texts)
        said = said.strip() if self.is_answered else said.lstrip()
        return [*message.media, said] if said else message.media

    def _shown(self, part: Image | Video) -> str:
        before, after = self.template.image_affixes
        opening, closing = self.marks or ("", "")
        return f"{before}{opening}{self.markers.mark(part)}{closing}{after}"
