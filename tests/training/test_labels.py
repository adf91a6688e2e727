"""Labels are those of LLaVA's own training code, where that does not give up."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from transformers import ByT5Tokenizer

from llava_serve.chat.rendering import from_template
from llava_serve.chat.templates import TEMPLATES, template_named
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.prompts import own_format
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.errors import CheckpointError, InvalidField
from llava_serve.request import Conversation, Image, Message
from llava_serve.training.labels import IGNORED, AnswerLabeller, LabelledPrompt
from llava_serve.training.sample import sample_of
from tests.chat.test_continuing import CHAT_TEMPLATES
from tests.checkpoints.encoded import ids_of, load_from
from tests.checkpoints.golden_cases import GOLDEN

MASKS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "masks").glob("*.json"))
}
RED = Image(PIL.Image.new("RGB", (2, 2), "red"), "red")
# What differs by design: LLaVA takes a turn's second picture away.
ONE_PICTURE_LOST = [(name, "two_images") for name in ("v1", "llama_2", "mistral_instruct")]
CASES = [(name, case) for name, stored in MASKS.items() for case in stored["cases"]]
GIVEN_UP = [(name, case) for name, case in CASES if MASKS[name]["cases"][case]["warning"]]


@cache
def stored(name: str) -> LoadedModel:
    folder = GOLDEN / MASKS[name]["tokenizer"] / "checkpoint"
    loaded = load_from(folder)
    return replace(loaded, format=from_template(template_named(MASKS[name]["template"])))


def conversation(turns: list[dict[str, str]], *, keeps_line_breaks: bool = True) -> Conversation:
    while turns[0]["from"] == "gpt":  # LLaVA leaves such a turn out; here it is an error
        turns = turns[1:]
    places = sum(turn["value"].count("<image>") for turn in turns)
    sample = sample_of({"conversations": turns, "image": ["red.png"] * places})
    return sample.conversation([RED] * places, keeps_line_breaks=keeps_line_breaks)


def labelled(name: str, case: str, **options: Any) -> LabelledPrompt:
    turns = MASKS[name]["cases"][case]["conversations"]
    return AnswerLabeller(stored(name), **options).label(conversation(turns))


def learnt(loaded: LoadedModel, prompt: LabelledPrompt) -> list[str]:
    """Return the texts of the runs of tokens that are learnt."""
    runs: list[list[int]] = [[]]
    for label in prompt.labels:
        if label == IGNORED:
            runs.append([])
        else:
            runs[-1].append(label)
    return [str(loaded.tokenizer.decode(run)) for run in runs if run]


@pytest.mark.parametrize(
    ("name", "case"), [each for each in CASES if each not in GIVEN_UP + ONE_PICTURE_LOST]
)
def test_tokens_and_labels_are_those_of_the_reference(name: str, case: str) -> None:
    expected = MASKS[name]["cases"][case]
    found = labelled(name, case)
    assert ids_of(found.items) == expected["input_ids"]
    assert found.labels == expected["labels"]


@pytest.mark.parametrize(("name", "case"), GIVEN_UP)
def test_answers_are_learnt_where_the_reference_gives_up(name: str, case: str) -> None:
    turns = MASKS[name]["cases"][case]["conversations"]
    end = template_named(MASKS[name]["template"]).stop
    found = [text.strip() for text in learnt(stored(name), labelled(name, case))]
    said = [turn["value"] for turn in turns if turn["from"] == "gpt"]
    assert [text.removesuffix(end).strip() for text in found] == said
    assert all(text.endswith(end) for text in found)
    ends = [stored(name).tokenizer.eos_token_id] * len(said)
    assert [i for i in labelled(name, case).labels if i == ends[0]] == ends


@pytest.mark.parametrize(("name", "case"), ONE_PICTURE_LOST)
def test_two_pictures_of_one_turn_stay_two(name: str, case: str) -> None:
    expected, found = MASKS[name]["cases"][case], labelled(name, case)
    assert ids_of(found.items).count(-200) == 2
    at = expected["input_ids"].index(-200) + 1
    line_break = expected["input_ids"][at : at + 2]  # as LLaVA reads one behind a picture
    with_two = [*expected["input_ids"][:at], *line_break, -200, *expected["input_ids"][at:]]
    assert ids_of(found.items) == with_two
    answer = [label for label in expected["labels"] if label != IGNORED]
    assert [label for label in found.labels if label != IGNORED] == answer


def test_a_qwen_s_marks_need_not_be_learnt() -> None:
    found = learnt(stored("qwen"), labelled("qwen", "two_turns", trains_marks=False))
    assert found == ["a red car is next to the river.<|im_end|>", "It is red.<|im_end|>"]


ANSWERS = ["A cat.", "", " spaces ", "</s><|im_end|> ###", "1\n\n2\n", "é 世界 🐦"]


@pytest.mark.parametrize("answer", ANSWERS, ids=json.dumps)
@pytest.mark.parametrize("row", TEMPLATES)
@pytest.mark.parametrize("name", ["v1", "mistral_instruct", "qwen"])
def test_every_template_learns_its_answers_and_their_ends(name: str, row: str, answer: str) -> None:
    loaded = replace(stored(name), format=from_template(TEMPLATES[row]))
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": answer}]
    again = [{"from": "human", "value": "Red?"}, {"from": "gpt", "value": "It is."}]
    prompt = AnswerLabeller(loaded, trains_marks=False).label(conversation([*turns, *again]))
    found = learnt(loaded, prompt)
    stop = TEMPLATES[row].stop
    assert [text.removesuffix(stop).strip() for text in found] == [answer.strip(), "It is."]
    assert all(text.endswith(stop) for text in found)


@pytest.mark.parametrize("answer", ANSWERS, ids=json.dumps)
@pytest.mark.parametrize("source", CHAT_TEMPLATES)
def test_every_chat_template_learns_its_answers_and_an_end(
    bundled: LoadedModel, source: str, answer: str
) -> None:
    """Also one that shows answers without an end."""
    loaded = bundled
    if template := CHAT_TEMPLATES[source]:
        form = own_format(loaded.tokenizer, template, ("<image>", "<video>"))
        loaded = replace(loaded, format=form)
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": answer}]
    again = [{"from": "human", "value": "Red?"}, {"from": "gpt", "value": "It is."}]
    said = conversation([*turns, *again], keeps_line_breaks=False)
    found = learnt(loaded, AnswerLabeller(loaded).label(said))
    end = loaded.tokenizer.eos_token
    assert [text.removesuffix(end).strip() for text in found] == [answer.strip(), "It is."]
    assert all(text.endswith(end) for text in found)


@pytest.mark.parametrize(
    "name", sorted({*MASKS} - {"plain"})
)  # whose questions are left out in training
def test_what_is_learnt_goes_on_from_the_prompt_that_asks(name: str) -> None:
    """Serving asks with the tokens before the first one that is learnt."""
    turns = MASKS[name]["cases"]["one"]["conversations"]
    found = AnswerLabeller(stored(name), trains_marks=False).label(conversation(turns))
    first = next(i for i, label in enumerate(found.labels) if label != IGNORED)
    asked = PromptTokenizer(stored(name)).tokenize(
        Conversation((Message("user", (RED, "What is shown in this image?")),))
    )
    assert found.items[:first] == asked


def test_a_conversation_without_an_answer_is_refused(bundled: LoadedModel) -> None:
    with pytest.raises(InvalidField, match="no answer"):
        AnswerLabeller(bundled).label(Conversation((Message("user", ("Hi",)),)))


def test_a_tokenizer_that_tells_no_places_serves_and_does_not_train() -> None:
    loaded = replace(stored("v1"), tokenizer=ByT5Tokenizer(), legacy_tokenizer=None)
    assert PromptTokenizer(loaded).encode("Hi") == [75, 108]
    with pytest.raises(CheckpointError, match="does not tell which characters a token is of"):
        AnswerLabeller(loaded)


def test_a_model_without_a_token_that_ends_answers_is_refused(bundled: LoadedModel) -> None:
    with pytest.raises(CheckpointError, match="no token that ends an answer"):
        AnswerLabeller(replace(bundled, stop_ids=frozenset()))
