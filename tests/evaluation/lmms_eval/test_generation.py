"""Generation settings of an lmms-eval task are honoured, or refused by name."""

from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.lmms_eval.generation import settings_of

GREEDY = {"max_tokens": 1024, "temperature": 0}


@pytest.mark.parametrize(
    ("kwargs", "fields"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"max_new_tokens": 16}, {"max_tokens": 16}, id="length"),
        pytest.param({"max_new_tokens": None, "temperature": None}, {}, id="null"),
        pytest.param(
            {"temperature": 0.0, "top_p": 1.0, "num_beams": 1, "do_sample": False},
            {},
            id="greedy, as most tasks",
        ),
        pytest.param({"top_p": 0, "top_k": 1, "seed": 3}, {}, id="of sampling, without sampling"),
        pytest.param(
            {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "seed": 0, "do_sample": True},
            {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "seed": 0},
            id="sampling",
        ),
        pytest.param({"frequency_penalty": 0.5}, {"frequency_penalty": 0.5}, id="penalty"),
        pytest.param({"until": "Q:"}, {"stop": ["Q:"]}, id="one stop"),
        pytest.param({"until": ["</s>", "Q:", ""]}, {"stop": ["</s>", "Q:"]}, id="stops"),
        pytest.param({"until": ["\n\n"]}, {}, id="what lmms-eval fills in"),
        pytest.param({"until": None}, {}, id="no stop"),
        pytest.param({"until": []}, {}, id="no stop at all"),
        pytest.param({"image_aspect_ratio": "original"}, {}, id="left to the checkpoint"),
    ],
)
def test_a_setting_is_a_field_of_the_request(
    kwargs: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert settings_of(kwargs, "drawn") == GREEDY | fields


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"num_beams": 4}, "num_beams: 4"),
        ({"n": 2}, "n: 2"),
        ({"repetition_penalty": 1.2}, "repetition_penalty: 1.2"),
        ({"max_agentic_steps": 8, "visual_cot": True}, "max_agentic_steps: 8, visual_cot: True"),
        ({"skip_special_tokens": False}, "skip_special_tokens: False"),
        ({"do_sample": True}, "do_sample: true without a temperature"),
        ({"do_sample": True, "temperature": 0}, "do_sample: true without a temperature"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(kwargs: dict[str, Any], named: str) -> None:
    with pytest.raises(CommandError, match="'drawn' asks for") as caught:
        settings_of(kwargs, "drawn")
    assert named in caught.value.message
    assert "--include-path" in caught.value.remedy
