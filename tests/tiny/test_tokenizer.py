"""The tokenizer gives every text back, and its template is the one training rendered."""

from random import Random

import pytest
from transformers import AutoTokenizer

from llava_serve.tiny import CHECKPOINT
from scripts.tiny.dialogue import random_dialogue
from scripts.tiny.recipe import Recipe
from scripts.tiny.tokenizer import END, SHORT_ANSWER, START, messages, render
from scripts.tiny.world import COLORS, SHAPES

tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.mark.parametrize(
    "text",
    ["What color is the circle?", "  two  spaces\n\nand lines\t", "Größe 東京 🙂", "407", ""],
)
def test_text_comes_back(text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("word", [*COLORS, *SHAPES])
def test_a_word_of_the_world_is_one_token(word: str) -> None:
    assert len(tokenizer.tokenize(f" {word}")) == 1


def test_digits_stay_single() -> None:
    assert tokenizer.tokenize("407") == ["4", "0", "7"]


def test_the_wish_for_a_short_answer_is_one_token_and_comes_back() -> None:
    text = f"What color is it?\n{SHORT_ANSWER}"
    assert tokenizer.tokenize(text)[-1] == SHORT_ANSWER
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_template_renders_what_was_trained() -> None:
    rng = Random("template")
    for _ in range(40):
        dialogue = random_dialogue(rng, Recipe(size=lambda *_: (96, 96)))
        trained, offsets = render(dialogue)
        for i, (start, end) in enumerate(offsets):
            prompt = tokenizer.apply_chat_template(
                messages(dialogue, i),  # type: ignore[arg-type]
                tokenize=False,
                add_generation_prompt=True,
            )
            assert prompt == trained[:start]
            assert trained[start:end] == dialogue.exchanges[i].turn.answer + END


def test_plain_text_content_needs_no_parts() -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    prompt = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert prompt == (f"{START}system\nBe brief.{END}\n{START}user\nHi{END}\n{START}assistant\n")
