"""Two fingerprints are equal where two models were asked the same, and nowhere else."""

import base64
import copy
import hashlib
from typing import Any

import pytest

from llava_serve.web.compare import same_input
from llava_serve.web.compare.fingerprint import Fingerprint, fingerprint_of, seed_for
from llava_serve.web.messages import DataUri, sha256_of

IMAGE = b"\x89PNG and more"


def uri(data: bytes) -> DataUri:
    return DataUri("data:image/png;base64," + base64.b64encode(data).decode())


def body(**changed: Any) -> dict[str, Any]:
    said = [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": uri(IMAGE)}},
                {"type": "text", "text": "what is it?"},
            ],
        },
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": [{"type": "text", "text": "sure?"}]},
    ]
    sampling = {"temperature": 0.2, "top_p": 1.0, "max_tokens": 64, "seed": 5}
    return {"model": "a", "messages": said, **sampling} | changed


def of(content: dict[str, Any]) -> Fingerprint:
    return fingerprint_of(content, sha256_of)


def with_message(index: int, content: Any) -> dict[str, Any]:
    changed = copy.deepcopy(body())
    changed["messages"][index]["content"] = content
    return changed


def test_who_is_asked_and_how_it_streams_is_no_part_of_it() -> None:
    same = of(body(model="b", stream=True, stream_options={"include_usage": True}))
    assert same == of(body())
    assert len(same.digest) == 10


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(body(temperature=0.3), id="temperature"),
        pytest.param(body(top_p=0.9), id="top p"),
        pytest.param(body(max_tokens=65), id="max tokens"),
        pytest.param(body(seed=6), id="seed"),
        pytest.param({k: v for k, v in body().items() if k != "seed"}, id="no seed"),
        pytest.param(body(repetition_penalty=1.1), id="another parameter"),
        pytest.param(with_message(0, "be long"), id="system prompt"),
        pytest.param(with_message(2, "a dog"), id="earlier answer"),
        pytest.param(with_message(3, [{"type": "text", "text": "sure!"}]), id="question"),
        pytest.param(
            with_message(3, [{"type": "text", "text": "su"}, {"type": "text", "text": "re?"}]),
            id="parts of the question",
        ),
        pytest.param(
            with_message(
                1,
                [
                    {"type": "image_url", "image_url": {"url": uri(IMAGE + b"\0")}},
                    {"type": "text", "text": "what is it?"},
                ],
            ),
            id="one byte of a picture",
        ),
        pytest.param(
            with_message(
                1,
                [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": uri(IMAGE)}},
                ],
            ),
            id="place of a picture",
        ),
        pytest.param(with_message(1, [{"type": "text", "text": "what is it?"}]), id="no picture"),
        pytest.param(
            body(messages=[*body()["messages"][:1], *body()["messages"][3:]]), id="no earlier turn"
        ),
    ],
)
def test_it_differs_when_anything_differs(changed: dict[str, Any]) -> None:
    assert of(changed).digest != of(body()).digest
    assert same_input.mark([of(body()), of(changed)], "AB") != same_input.mark([of(body())], "A")


def test_a_file_is_named_by_the_hash_of_its_bytes() -> None:
    assert of(body()).parts["files"] == [hashlib.sha256(IMAGE).hexdigest()]


def test_what_is_written_down_comes_back() -> None:
    asked = fingerprint_of(body(), sha256_of, ("top_p",))
    assert Fingerprint.restored(asked.as_json()) == asked
    assert Fingerprint.restored(None) is None


def test_the_mark_names_what_all_were_asked_with() -> None:
    said = same_input.mark([of(body()), of(body(model="b"))], "AB")
    assert said == (
        "Same input: question, 1 file, system prompt, temperature 0.2, top p 1.0, max tokens 64, "
        "seed 5"
    )


def test_the_mark_says_which_side_was_asked_otherwise_and_how() -> None:
    without = {name: value for name, value in body().items() if name != "seed"}
    refused = fingerprint_of(without, sha256_of, ("seed",))
    others = [of(body()), of(body(temperature=0.7)), of(with_message(1, []))]
    said = same_input.mark([of(body()), *others, refused], "ABCDE")
    assert said.startswith("Not the same input: ")
    assert "E was asked without seed, which its model does not take" in said
    assert "C was asked with temperature 0.7" in said
    assert "D was asked with another question" in said
    assert "D was asked without set of pictures and videos" in said
    assert "A was" not in said and "B was" not in said


def test_own_earlier_answers_are_said_and_are_no_difference_of_the_input() -> None:
    asked = [of(body()), of(with_message(2, "a dog"))]
    assert same_input.is_same(asked)
    assert "each model has its own earlier answers" in same_input.mark(asked, "AB")
    assert not same_input.is_same([*asked, of(body(seed=6))])


def test_a_seed_is_that_of_the_others_or_drawn() -> None:
    assert seed_for([None, of(body(seed=77))]) == 77
    drawn = {seed_for([]) for _ in range(20)}
    assert len(drawn) > 15 and all(0 <= seed < 2**31 for seed in drawn)
