"""Flags of a review that cannot be meant are refused with a sentence."""

import dataclasses
from pathlib import Path

import pytest

from tests.evaluation.review.conftest import config_of, flags_of


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        pytest.param("answers", ("a.jsonl",), "two files, not 1", id="one file of answers"),
        pytest.param("judge", "judge:80", "http://host:port", id="an address without a scheme"),
        pytest.param("judge_model", " ", "--judge-model", id="an empty model"),
        pytest.param("temperature", float("nan"), "--temperature", id="no temperature"),
        pytest.param("temperature", -1.0, "--temperature", id="a negative temperature"),
        pytest.param("concurrency", 0, "--concurrency", id="no review at once"),
        pytest.param("attempts", 0, "--attempts", id="no attempt"),
        pytest.param("max_tokens", 0, "--max-tokens", id="no token"),
        pytest.param("seed", -1, "--seed", id="a negative seed"),
        pytest.param("judge_fields", "{", "no JSON", id="fields that are no JSON"),
        pytest.param("judge_fields", "[]", "JSON object", id="fields that are a list"),
        pytest.param("judge_fields", '{"n": 2}', "cannot set n", id="several reviews at once"),
    ],
)
def test_a_wrong_flag_is_refused(tmp_path: Path, field: str, value: object, told: str) -> None:
    config = config_of(flags_of(tmp_path, "http://judge"))
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(config, **{field: value})  # type: ignore[arg-type]
