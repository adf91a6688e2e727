"""Rules are those of a file of LLaVA's form, by default of our own words."""

import json
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.review.rules import read_rules, rule_of


def test_the_rules_that_ship_are_for_both_of_llavas_benches() -> None:
    rules, _ = read_rules(None)
    kinds = ("conv", "detail", "complex")
    assert {*kinds, *(f"llava_bench_{kind}" for kind in kinds), "default"} == rules.keys()
    for rule in rules.values():
        assert rule.role == "Assistant"
        assert "from 1 to 10" in rule.prompt and "first line" in rule.prompt
    assert "box" in rules["detail"].prompt and "box" not in rules["llava_bench_detail"].prompt


def test_a_rule_file_of_llavas_form_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    written = {"coding": {"role": "Assistant", "prompt": "Read the code."}}
    path.write_text(json.dumps({**written, "default": {"role": "Judge", "prompt": "Score."}}))
    rules, content = read_rules(path)
    assert content == path.read_bytes()
    coding, other = rule_of(rules, "coding"), rule_of(rules, "math")
    assert coding is not None and coding.prompt == "Read the code."
    assert other is not None and other.role == "Judge"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("[]", "no rule file", id="a list"),
        pytest.param('{"conv": {"role": "Assistant"}}', r"conv\.prompt", id="no prompt"),
        pytest.param("{", "JSON", id="no JSON"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rule.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=told):
        read_rules(path)
    with pytest.raises(CommandError, match="cannot read"):
        read_rules(tmp_path / "none.json")
