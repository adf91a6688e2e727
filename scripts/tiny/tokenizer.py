"""The tokenizer, trained on the world's own sentences, and the chat template it carries."""

from collections.abc import Iterator
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from scripts.tiny.dialogue import Dialogue, random_dialogue
from scripts.tiny.recipe import Recipe

END_OF_TEXT, START, END, IMAGE, VIDEO = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>",
)  # fmt: skip
# Evaluations of LLaVA end their questions so. Its words are none of the world's, and as bytes the
# sentence is longer than the question before it.
SHORT_ANSWER = "Answer the question using a single word or phrase."
_VOCABULARY = 600
_DIALOGUES = 4000  # to learn it from

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] in ('image', 'image_url') -%}
{{- '<image>\\n' -}}
{%- elif part['type'] in ('video', 'video_url') -%}
{{- '<video>\\n' -}}
{%- else -%}
{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE: digits stay single, the world's own words are one token each.

    So is `SHORT_ANSWER`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(r" ?\w+|\s|[^\s\w]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[END_OF_TEXT, START, END, IMAGE, VIDEO],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(), trainer)
    tokenizer.add_tokens([AddedToken(SHORT_ANSWER, normalized=False)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[START, IMAGE, VIDEO],
        chat_template=CHAT_TEMPLATE,
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


def _sentences() -> Iterator[str]:
    rng = Random("tokenizer 0")
    recipe = Recipe(size=lambda *_: (96, 96))
    for _ in range(_DIALOGUES):
        dialogue = random_dialogue(rng, recipe)
        if dialogue.form != "beyond" or rng.random() < 0.3:
            for exchange in dialogue.exchanges:
                yield exchange.turn.question
                yield exchange.turn.answer
        yield "system\nuser\nassistant\n"


def messages(dialogue: Dialogue, upto: int) -> list[dict[str, object]]:
    """Return the chat messages up to question number `upto`, its answer left open."""
    said: list[dict[str, object]] = []
    if dialogue.system:
        said.append({"role": "system", "content": dialogue.system})
    for i, exchange in enumerate(dialogue.exchanges[: upto + 1]):
        media = [{"type": "video" if s.is_video else "image"} for s in exchange.shown]
        text = [{"type": "text", "text": exchange.turn.question}]
        parts = [*text, *media] if exchange.is_text_first else [*media, *text]
        said.append({"role": "user", "content": parts})
        if i < upto:
            said.append({"role": "assistant", "content": exchange.turn.answer})
    return said


def render(dialogue: Dialogue) -> tuple[str, list[tuple[int, int]]]:
    """Return the text of a dialogue and the (start, end) of its answers with their end mark."""
    text, offsets = "", []
    if dialogue.system:
        text = _said("system", dialogue.system)
    for exchange in dialogue.exchanges:
        media = "".join((VIDEO if s.is_video else IMAGE) + "\n" for s in exchange.shown)
        question = exchange.turn.question
        text += _said("user", question + media if exchange.is_text_first else media + question)
        start = len(text) + len(f"{START}assistant\n")
        text += _said("assistant", exchange.turn.answer)
        offsets.append((start, len(text) - 1))
    return text, offsets


def _said(role: str, content: str) -> str:
    return f"{START}{role}\n{content}{END}\n"
