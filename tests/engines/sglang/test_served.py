"""What a server says of itself becomes a card, and defaults that the checkpoint would choose."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llava_serve.engines.sglang.served import Answers, Served, doubts_of, served_of
from llava_serve.protocol.model_card import SamplingDefaults
from tests.engines.sglang.conftest import MODEL_INFO


def served(
    name: str | None = None,
    version: str = "0.5.23",
    image_tokens: tuple[int, ...] = (3,),
    shows_tools: bool = False,
    parser: str | None = None,
    **info: Any,
) -> Served:
    models = {"data": [{"id": "org/llava-onevision-7b", "max_model_len": 2048}]}
    answers = Answers(
        address="http://s",
        model=MODEL_INFO | info,
        server={"version": version, "tool_call_parser": parser},
        models=models,
        image_tokens=[*image_tokens],
        has_template=True,
        shows_tools=shows_tools,
    )
    return served_of(answers, name)


def test_the_name_is_the_servers_own_unless_the_operator_gives_one() -> None:
    assert served().card.id == "llava-onevision-7b"
    assert served("mine").card.id == "mine"


def test_the_card_says_what_is_taken() -> None:
    card = served(has_image_understanding=False).card
    assert (card.context_length, card.accepts_images, card.accepts_video) == (2048, False, False)
    assert "response_format" in card.supported_params
    assert "detail" not in card.supported_params


def test_a_placeholder_of_several_tokens_cannot_be_counted() -> None:
    assert served().image_token == 3
    assert served(image_tokens=(3, 4)).image_token is None


@pytest.mark.parametrize(
    ("config", "preferred", "chosen"),
    [
        (None, None, SamplingDefaults(temperature=0)),
        ({"temperature": 0.6}, None, SamplingDefaults(temperature=0)),
        ({"do_sample": True, "top_k": 5}, None, SamplingDefaults(temperature=1, top_k=5)),
        (None, '{"temperature": 0.7}', SamplingDefaults(temperature=0.7)),
        ({"do_sample": True}, {"top_p": 0.5}, SamplingDefaults(temperature=1, top_p=0.5)),
    ],
)
def test_what_a_request_leaves_out_is_chosen_as_transformers_would(
    tmp_path: Path, config: Any, preferred: Any, chosen: SamplingDefaults
) -> None:
    if config is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(config))
    told = served(model_path=str(tmp_path), preferred_sampling_params=preferred)
    assert told.sampling == chosen


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.5.23", None),
        ("0.10.0", None),
        ("0.5.23.post1", None),
        ("0.5.4", "0.5.4; the oldest that was tried is 0.5.23"),
        ("", "does not tell"),
    ],
)
def test_a_version_older_than_any_tried_is_doubtful(version: str, words: str | None) -> None:
    doubts = list(doubts_of(served(version=version)))
    assert [words in doubt for doubt in doubts if words] == [True] * (words is not None)
    assert bool(doubts) is (words is not None)


@pytest.mark.parametrize(
    ("shows_tools", "parser", "words"),
    [
        (True, "hermes", None),
        (True, None, "--tool-call-parser"),
        (False, "hermes", "template shows none"),
        (False, None, None),
    ],
)
def test_tools_need_a_template_that_shows_them_and_a_parser(
    shows_tools: bool, parser: str | None, words: str | None
) -> None:
    told = served(shows_tools=shows_tools, parser=parser)
    assert ("tools" in told.card.supported_params) is (shows_tools and parser is not None)
    assert [words in doubt for doubt in doubts_of(told) if words] == [True] * (words is not None)
    assert bool([*doubts_of(told)]) is (words is not None)


@pytest.mark.parametrize("architecture", ["LlavaQwenForCausalLM", "LlavaForConditionalGeneration"])
def test_a_model_takes_pictures_in_place_of_a_token_only(architecture: str) -> None:
    without = served(architectures=[architecture], image_tokens=(3, 4))
    assert not without.card.accepts_images
    assert ["--tokenizer-path" in doubt for doubt in doubts_of(without)] == [True]
    assert replace(without, image_token=3).card.accepts_images


def test_the_servers_name_for_the_model_stays_known() -> None:
    assert served("mine").model_id == "org/llava-onevision-7b"
