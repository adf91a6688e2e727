"""Structured outputs: whatever the model makes of the question, they follow their grammar."""

import asyncio
import functools
import json
import re
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any

import jsonschema
import pytest

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import EngineBudget, choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.grammar import MOST_BYTES
from llava_serve.errors import InvalidField
from llava_serve.request import Delta, GenerateRequest, Image
from scripts.tiny.world import simple_image
from tests.checkpoints.golden_cases import GOLDEN
from tests.engines.torch.conftest import collect, request
from tests.engines.torch.random_schemas import random_document
from tests.engines.torch.test_resuming import gone_on_at_each_delta

SHOWN = Image(simple_image("circle", "red", size=(96, 96)), "red circle")
QUESTION = (SHOWN, "Describe the picture.")
LIST = {"type": "array", "items": {"type": "integer"}}
DEEP: dict[str, Any] = functools.reduce(lambda inner, _: {"items": inner}, range(150), {})
# The library's stack overflows at the first, which ends its process; the second takes it hours.
CHAIN = {
    "$defs": {str(i): {"items": {"$ref": f"#/$defs/{i + 1}"}} for i in range(1250)} | {"1250": {}},
    "$ref": "#/$defs/0",
}
EXPLOSION = {"allOf": [{"type": "string", "pattern": f".*a.{{{i}}}"} for i in range(10, 60)]}
ENDLESS = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load(ModelConfig(device="cpu"))


@pytest.fixture(scope="module")
def bundled(model: LoadedModel) -> Iterator[TorchEngine]:
    engine = TorchEngine(model, choose_budget(model, slots=8))
    yield engine
    engine.close()


def asked(schema: Any = None, **sampling: Any) -> GenerateRequest:
    form = {} if schema is None else {"json_schema": json.dumps(schema)}
    return request(*QUESTION, **{"max_new_tokens": 1000} | form | sampling)


async def answers(engine: TorchEngine, requests: list[GenerateRequest]) -> list[tuple[str, Delta]]:
    return list(await asyncio.gather(*(collect(engine.stream(each)) for each in requests)))


@pytest.mark.parametrize(
    "batch", [*range(3), *(pytest.param(i, marks=pytest.mark.slow) for i in range(3, 25))]
)
async def test_an_answer_parses_and_keeps_to_its_schema(bundled: TorchEngine, batch: int) -> None:
    rng = Random(batch)
    schemas = [random_document(rng) for _ in range(8)]
    heat = [{"temperature": t, "seed": batch} for t in (0.0, 0.7, 1.0, 2.0) * 2]
    requests = [asked(schema, **each) for schema, each in zip(schemas, heat, strict=True)]
    for schema, (text, last) in zip(schemas, await answers(bundled, requests), strict=True):
        assert last.finish_reason == "stop", (schema, text)
        jsonschema.validate(
            json.loads(text), schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        )


PATTERNS = [
    "(red|blue|green)",
    "^[A-Z][a-z]{2,8}( [a-z]{1,5}){0,3}[.!?]$",
    r"\d{4}-\d{2}-\d{2}",
    r"\w{1,3}/\s\S\\\.",
    " leading and trailing ",
    "(ab?|c{2,3}){1,4}",
    "[^a-z\n]{1,6}",
    "é{2}ß?[à-ü]{1,3}",
    "(?i)yes|no",
    r"a\nb",
    ".{5}",
    '"quoted" #not %special',
    "😀{1,2}",
]


@pytest.mark.parametrize("heat", [0.0, 1.0, 2.0])
async def test_an_answer_matches_its_expression(bundled: TorchEngine, heat: float) -> None:
    requests = [asked(regex=each, temperature=heat, seed=3) for each in PATTERNS]
    for pattern, (text, last) in zip(PATTERNS, await answers(bundled, requests), strict=True):
        assert last.finish_reason == "stop"
        assert re.fullmatch(pattern, text), (pattern, text)


async def test_rows_without_a_form_are_answered_as_if_alone(bundled: TorchEngine) -> None:
    free = [
        request(*QUESTION, max_new_tokens=30, ignore_eos=True, temperature=heat, seed=5)
        for heat in (0.0, 1.0)
    ]
    alone = [await collect(bundled.stream(each)) for each in free]
    formed = [asked({"enum": ["red", "blue"]}), asked(ENDLESS, max_new_tokens=20)]
    together = await answers(bundled, [free[0], formed[0], free[1], formed[1]])
    assert [text for text, _ in together[::2]] == [text for text, _ in alone]
    assert together[1][0] in ('"red"', '"blue"')


@pytest.mark.parametrize(
    "sampling",
    [
        pytest.param({"repetition_penalty": 5.0}, id="penalty of what was said"),
        pytest.param({"frequency_penalty": 2.0, "presence_penalty": -2.0}, id="penalties"),
        pytest.param({"logit_bias": tuple((t, 100.0) for t in range(300))}, id="bias"),
        pytest.param({"temperature": 1.0, "min_p": 1.0, "top_p": 0.1, "seed": 1}, id="min_p"),
        pytest.param({"temperature": 2.0, "top_k": 3, "seed": 1}, id="top_k"),
    ],
)
async def test_no_other_choice_of_tokens_breaks_the_form(
    bundled: TorchEngine, sampling: dict[str, Any]
) -> None:
    schema = {"type": "array", "items": {"enum": ["red", "blue", 7]}, "maxItems": 3}
    text, last = await collect(bundled.stream(asked(schema, **sampling)))
    assert last.finish_reason == "stop"
    jsonschema.validate(json.loads(text), schema)


async def test_log_probabilities_are_those_without_the_form(bundled: TorchEngine) -> None:
    form = asked(regex="Q|Z", top_logprobs=2)
    (token,) = [t async for delta in bundled.stream(form) for t in delta.logprobs]
    assert token.text in ("Q", "Z")
    assert token.logprob < token.top[0].logprob
    assert token.top[0].text not in ("Q", "Z")


async def test_an_answer_ends_no_earlier_than_asked_if_its_form_can_go_on(
    bundled: TorchEngine,
) -> None:
    _, last = await collect(bundled.stream(asked(regex="a{1,40}", min_new_tokens=20)))
    assert last.usage is not None
    assert last.usage.completion_tokens >= 20
    assert (await collect(bundled.stream(asked(regex="yes", min_new_tokens=20))))[0] == "yes"


async def test_without_ends_the_form_alone_ends_an_answer(bundled: TorchEngine) -> None:
    text, last = await collect(bundled.stream(asked(regex="(ab){1,20}", ignore_eos=True)))
    assert (text, last.finish_reason) == ("ab" * 20, "stop")


async def test_a_stop_string_ends_an_answer_in_its_form(bundled: TorchEngine) -> None:
    text, last = await collect(bundled.stream(asked(regex="red, (blue, )+green", stop=("blue",))))
    assert (text, last.finish_reason) == ("red, ", "stop")


async def test_an_answer_that_is_cut_says_so(bundled: TorchEngine) -> None:
    text, last = await collect(bundled.stream(asked(regex="a{30}", max_new_tokens=5)))
    assert last.finish_reason == "length"
    assert re.fullmatch("a{1,29}", text)
    text, last = await collect(bundled.stream(asked(regex="é", max_new_tokens=2)))
    assert (text, last.finish_reason) == ("é", "stop")  # complete with its last token


async def test_spaces_in_json_come_to_an_end(bundled: TorchEngine) -> None:
    spaces = bundled_tokens(bundled, " ", "\n")
    biased = asked({"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2})
    sampling = replace(biased.sampling, logit_bias=tuple((token, 100.0) for token in spaces))
    text, last = await collect(bundled.stream(replace(biased, sampling=sampling)))
    assert (json.loads(text), last.finish_reason) == ([1, 1], "stop")
    assert 8 < len(text) < 200


def bundled_tokens(engine: TorchEngine, *texts: str) -> list[int]:
    tokenizer = engine._loaded.tokenizer
    return [tokenizer(text, add_special_tokens=False).input_ids[-1] for text in texts]


async def test_the_rest_of_an_answer_keeps_to_the_form(bundled: TorchEngine) -> None:
    form = asked(regex="(red|blue), (red|blue)", temperature=1.0, seed=2)
    assert await gone_on_at_each_delta(bundled, form) >= 3
    broken = replace(asked({"type": "null"}), resumed=tuple(bundled_tokens(bundled, "no")))
    with pytest.raises(InvalidField, match="response_format"):
        await collect(bundled.stream(broken))


async def test_who_is_preempted_goes_on_in_its_form(
    endless: LoadedModel, budget: EngineBudget, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    engine = TorchEngine(endless, replace(budget, slots=3, kv_tokens=600))
    schema = {"type": "array", "items": {"enum": ["red", "blue"]}, "minItems": 40, "maxItems": 50}
    form: dict[str, Any] = {"json_schema": json.dumps(schema), "max_new_tokens": None}
    requests = [request(f"number {i}", **form, temperature=1.0, seed=i) for i in range(3)]
    alone = [await collect(engine.stream(each)) for each in requests]
    together = await answers(engine, requests)
    engine.close()
    assert "preempted" in caplog.text
    assert [text for text, _ in together] == [text for text, _ in alone]


async def test_a_client_that_leaves_leaves_nothing_behind(bundled: TorchEngine) -> None:
    async with aclosing(bundled.stream(asked(ENDLESS, max_new_tokens=None))) as deltas:
        await anext(deltas)
    status = bundled.status()
    assert status.kv_tokens_held == 0


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"regex": "(("}, "regex: unclosed group"),
        ({"regex": "(?=a)b"}, "regex: look-around"),
        ({"regex": r"(a)\1"}, "regex: backreferences"),
        ({"regex": "a" * MOST_BYTES + "a"}, r"regex: is \d+ bytes long"),
        ({"json_schema": {"uniqueItems": True}}, "response_format: .*uniqueItems"),
        ({"json_schema": {"not": {}}, "x-guidance": {"lenient": True}}, "response_format: .*not"),
        ({"json_schema": {"$ref": "http://127.0.0.1/x"}}, "127.0.0.1/x"),
        ({"json_schema": {"type": "integer", "minimum": 2, "maximum": 1}}, "Unsatisfiable"),
        ({"json_schema": {"type": "object", "minProperties": 2}}, "minProperties"),
        ({"json_schema": {"items": [{}], "additionalItems": False}}, "additionalItems"),
        ({"json_schema": {"multipleOf": 999983}}, "multipleOf"),
        ({"json_schema": {"$defs": {"x": {"multipleOf": 0}}, "multipleOf": 999983}}, "multipleOf"),
        ({"json_schema": {"multipleOf": True}}, "multipleOf"),
        ({"json_schema": {"multipleOf": -2}}, "multipleOf"),
        ({"json_schema": {"patternProperties": {f"k{i}": {} for i in range(65)}}}, "65 pattern"),
        ({"json_schema": {"enum": ["x" * MOST_BYTES]}}, r"is \d+ bytes long"),
        ({"json_schema": DEEP}, "recursion limit"),
        ({"json_schema": {"type": "integer", "minimum": -1e30, "maximum": -1e29}}, r"2\*\*53"),
        ({"json_schema": {"enum": [[{"a": 2**53 + 1}]]}}, r"2\*\*53"),
        ({"json_schema": CHAIN}, "too complex"),
        ({"json_schema": EXPLOSION}, "too complex"),
        ({"regex": r"[^\s\S]"}, "nothing matches it"),
        ({"json_schema": {"properties": {"const": {"multipleOf": 999983}}}}, "multipleOf"),
        ({"json_schema": {"$defs": {"enum": {"maximum": 2**60}}}}, r"2\*\*53"),
        ({"json_schema": {"type": "object", "properties": {}, "required": [["a"]]}}, "required"),
    ],
)
async def test_a_form_that_cannot_be_guaranteed_is_refused(
    bundled: TorchEngine, form: dict[str, Any], reason: str
) -> None:
    if schema := form.get("json_schema"):
        form = {"json_schema": json.dumps(schema)}
    with pytest.raises(InvalidField, match=reason):
        await collect(bundled.stream(asked(**form)))


async def test_sentencepiece_answers_keep_their_spaces(budget: EngineBudget) -> None:
    """Its decoder takes the space before a first token for its own."""
    path = str(GOLDEN / "A_llava15" / "checkpoint")
    engine = TorchEngine(load(ModelConfig(model_path=path, device="cpu", dtype="float32")), budget)
    patterns = [" hello", "(?i)héllo w", "\n", "[a-z]{3}", "x|x y"]
    forms = [request("Hi.", regex=each, temperature=1.0, seed=1) for each in patterns]
    forms += [request("Hi.", regex=each) for each in patterns]
    texts = [text for text, _ in await answers(engine, forms)]
    engine.close()
    for pattern, text in zip(patterns * 2, texts, strict=True):
        assert re.fullmatch(pattern, text), (pattern, text)
