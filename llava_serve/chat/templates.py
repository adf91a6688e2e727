"""LLaVA's conversation templates: one row each, for checkpoints that bring no chat template.

Source of the rows: haotian-liu/LLaVA@c121f04, llava/conversation.py; `qwen_1_5` and
`llava_llama_3`: LLaVA-VL/LLaVA-NeXT@df17966, llava/conversation.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

Turn = tuple[Literal["user", "assistant"], str | None]  # None is the answer being asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How a model was trained to see a conversation.

    `render` is the separator style, called as in LLaVA. `images_first` puts the images of a turn
    before its text, as in training; otherwise they stand where the client put them. `image_affixes`
    is what stands before and after each. Where there is a `receipt`, images are a turn of their
    own, which the model has answered with it. A model that `trains_captions` learns to continue
    images alone: in training their questions are left out, with what stands behind these.
    """

    name: str
    system: str = ""  # used when the conversation brings none
    roles: tuple[str, str]
    separators: tuple[str, str]  # after a user turn, after an answer
    render: Callable[["Template", str, Sequence[Turn]], str]
    images_first: bool = True
    image_affixes: tuple[str, str] = ("", "\n")
    receipt: str | None = None
    trains_captions: bool = False

    @property
    def stop(self) -> str:
        """What ends an answer."""
        return self.separators[1]

    def name_of(self, role: str) -> str:
        """Return what stands before a turn of `role`."""
        return self.roles[role == "assistant"]

    def after(self, role: str) -> str:
        """Return what stands behind a turn of `role`."""
        return self.separators[role == "assistant"]


def two(template: Template, system: str, turns: Sequence[Turn]) -> str:
    """TWO, and SINGLE where both separators are one: `SYSTEM USER: hi ASSISTANT: hello</s>...`."""
    text = system + template.separators[0]
    for role, said in turns:
        name = template.name_of(role)
        text += f"{name}:" if said is None else f"{name}: {said}{template.after(role)}"
    return text


def mpt(template: Template, system: str, turns: Sequence[Turn]) -> str:
    """MPT: `<|im_start|>system\\nSYSTEM<|im_end|><|im_start|>user\\nhi<|im_end|>...`."""
    text = f"<|im_start|>system\n{system}{template.separators[0]}"
    for role, said in turns:
        text += template.name_of(role) + ("" if said is None else said + template.after(role))
    return text


def chatml(template: Template, system: str, turns: Sequence[Turn]) -> str:
    """CHATML: like MPT with line breaks, but an empty system message leaves no trace."""
    text = f"<|im_start|>system\n{system}{template.separators[0]}\n" if system else ""
    for role, said in turns:
        text += template.name_of(role) + ("" if said is None else f"{said}{template.after(role)}\n")
    return text


def llama_2(template: Template, system: str, turns: Sequence[Turn]) -> str:
    """LLAMA_2: `[INST] <<SYS>>SYSTEM<</SYS>> hi [/INST] hello </s><s>[INST] ...`.

    The first `<s>` is the tokenizer's BOS.
    """
    text = ""
    opening = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
    for role, said in turns:
        if role == "user":
            text += f"{template.separators[0] if text else ''}[INST] {opening}{said} [/INST]"
            opening = ""
        elif said is not None:
            text += f" {said} {template.separators[1]}"
    return text


def plain(template: Template, system: str, turns: Sequence[Turn]) -> str:
    """PLAIN: only what was said; a model after projector pre-training has seen captions alone."""
    said = (said + template.after(role) for role, said in turns if said is not None)
    return system + "".join(said)


def llama_3(template: Template, system: str, turns: Sequence[Turn]) -> str:
    """LLAMA_3: `<|start_header_id|>user<|end_header_id|>\\n\\nhi<|eot_id|>...`."""
    text = "<|begin_of_text|>"
    for role, said in [("system", system or None), *turns]:
        if role == "system" and said is None:
            continue
        text += f"<|start_header_id|>{role}<|end_header_id|>\n\n"
        text += "" if said is None else said + template.separators[0]
    return text


_CURIOUS = (
    "A chat between a curious {0} and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the {0}'s questions."
)
_VISION = (
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language."
)
_TAGGED = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant is able "
    "to understand the visual content that the user provides, and assist the user with a variety "
    "of tasks using natural language.The visual content will be provided with the following "
    "format: <Image>visual content</Image>."
)
_TAGS = ("<Image>", "</Image>")
_HARMLESS = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, "
    "while being safe.  Your answers should not include any harmful, unethical, racist, sexist, "
    "toxic, dangerous, or illegal content. Please ensure that your responses are socially unbiased "
    "and positive in nature.\n\nIf a question does not make any sense, or is not factually "
    "coherent, explain why instead of answering something not correct. If you don't know the "
    "answer to a question, please don't share false information."
)
_V0 = partial(Template, roles=("Human", "Assistant"), separators=("###", "###"), render=two)
_V1 = partial(Template, roles=("USER", "ASSISTANT"), separators=(" ", "</s>"), render=two)
_LLAMA_2 = partial(
    Template, roles=("USER", "ASSISTANT"), separators=("<s>", "</s>"), render=llama_2
)
_CHATML = partial(
    Template,
    roles=("<|im_start|>user\n", "<|im_start|>assistant\n"),
    separators=("<|im_end|>", "<|im_end|>"),
    render=mpt,
)

_ROWS = (
    _V1(name="vicuna_v1", system=_CURIOUS.format("user")),
    _V1(name="llava_v1", system=_CURIOUS.format("human")),
    _V0(name="llava_v0", system=_CURIOUS.format("human")),
    _V0(name="v0_mmtag", system=_TAGGED, image_affixes=_TAGS, receipt="Received."),
    _V1(name="v1_mmtag", system=_TAGGED, image_affixes=_TAGS, receipt="Received."),
    Template(
        name="plain",
        roles=("", ""),
        separators=("\n", "\n"),
        render=plain,
        image_affixes=("", ""),
        trains_captions=True,
    ),
    _LLAMA_2(name="mistral_instruct", separators=("", "</s>")),
    _LLAMA_2(name="llava_llama_2", system=_VISION),
    _LLAMA_2(name="llama_2", system=_HARMLESS),
    _CHATML(name="chatml_direct", system="Answer the questions."),
    _CHATML(
        name="mpt",
        system="A conversation between a user and an LLM-based AI assistant. "
        "The assistant gives helpful and honest answers.",
    ),
    _CHATML(
        name="qwen_1_5",
        system="You are a helpful assistant.",
        render=chatml,
        images_first=False,
    ),
    Template(
        name="llava_llama_3",
        system=_VISION,
        roles=("user", "assistant"),
        separators=("<|eot_id|>", "<|eot_id|>"),
        render=llama_3,
    ),
)
TEMPLATES: dict[str, Template] = {row.name: row for row in _ROWS}
# Other names of LLaVA's own list for the same rows.
_ALIASES = {
    "v1": "vicuna_v1",
    "v0_plain": "plain",
    "mistral_direct": "chatml_direct",
    "llava_mistral_instruct": "mistral_instruct",
    "llava_v0_mmtag": "v0_mmtag",
    "llava_v1_mmtag": "v1_mmtag",
}


def template_named(name: str) -> Template:
    """Look up a `--conv-mode`.

    Raises:
        ValueError: there is no such row; the message lists them.
    """
    row = TEMPLATES.get(_ALIASES.get(name, name))
    if row is None:
        raise ValueError(f"no conversation template {name!r}; known: {', '.join(TEMPLATES)}")
    return row
