"""Options of Ollama's requests: what they become, and which values ask for nothing."""

from typing import Any

import ollama
import pytest

from llava_serve.adapters.ollama.options import Options
from llava_serve.errors import BadRequest
from llava_serve.protocol.strict import parse_body


def chat_of(**options: Any) -> dict[str, Any]:
    return parse_body(Options, options).as_chat()


def test_options_become_fields_of_the_chat() -> None:
    assert chat_of(
        temperature=0.5,
        top_p=0.9,
        top_k=40.0,
        min_p=0.1,
        seed=0,
        stop=["a"],
        num_predict=7,
        repeat_penalty=1.1,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
    ) == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "seed": 0,
        "stop": ["a"],
        "max_tokens": 7,
        "repetition_penalty": 1.1,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
    }


@pytest.mark.parametrize(
    "options",
    [
        {"num_predict": -1},
        {"num_predict": -2},
        {"seed": -1},
        {"repeat_penalty": 1, "frequency_penalty": 0, "presence_penalty": 0.0},
        {"repeat_last_n": 64},
        {"repeat_penalty": 1.0, "repeat_last_n": 64},
        {"repeat_penalty": 1.5, "repeat_last_n": 0},
        {"mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1},
        {"tfs_z": 1.0, "typical_p": 1.0, "penalize_newline": True},
        {"num_ctx": 4096, "num_keep": 4, "num_gpu": 99, "num_thread": 8, "num_batch": 512},
        {"numa": False, "low_vram": True, "f16_kv": True, "use_mmap": True, "use_mlock": False},
        {"main_gpu": 0, "vocab_only": False, "logits_all": False, "embedding_only": False},
        {"draft_num_predict": 4},
    ],
)
def test_options_that_ask_for_nothing_pass(options: dict[str, Any]) -> None:
    assert chat_of(**options) == {}


def test_every_option_of_the_client_passes_where_it_is_null() -> None:
    assert chat_of(**dict.fromkeys(ollama.Options.model_fields)) == {}


def test_a_penalty_may_look_back_without_a_limit() -> None:
    assert chat_of(repeat_penalty=1.5, repeat_last_n=-1) == {"repetition_penalty": 1.5}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"repeat_penalty": 1.1, "repeat_last_n": 64}, "repeat_last_n"),
        ({"presence_penalty": 1, "repeat_last_n": 64}, "repeat_last_n"),
        ({"mirostat": 1}, "mirostat"),
        ({"tfs_z": 0.5}, "tfs_z"),
        ({"typical_p": 0.7}, "typical_p"),
        ({"penalize_newline": False}, "penalize_newline"),
        ({"vocab_only": True}, "vocab_only"),
        ({"num_predict": 0}, "num_predict"),
        ({"temperature": -1}, "temperature"),
        ({"stop": "a"}, "stop"),
        ({"stop": [""]}, "stop.0"),
        ({"num_predicts": 5}, "num_predicts"),
    ],
)
def test_an_option_that_is_refused_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        chat_of(**options)
    assert refusal.value.param == named  # type: ignore[attr-defined]
