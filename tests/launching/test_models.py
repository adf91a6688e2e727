"""What `--model` accepts, and what it says when it does not."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.launching.models import BUNDLED, Model, Models, models_to_serve, parse_model

HUB = "llava-hf/llava-1.5-7b-hf"


@pytest.mark.parametrize(
    ("spec", "model"),
    [
        (HUB, Model(HUB, None, "llava-1.5-7b-hf")),
        (f"{HUB}=big", Model(HUB, None, "big")),
        (f"me/lora@{HUB}=tuned", Model("me/lora", HUB, "tuned")),
        (f"me/lora@{HUB}", Model("me/lora", HUB, "lora")),
    ],
)
def test_a_spec_is_path_base_and_name(spec: str, model: Model) -> None:
    assert parse_model(spec) == model


def test_a_folder_may_have_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "lr=0.1" / "last"
    folder.mkdir(parents=True)
    assert parse_model(str(folder)) == Model(str(folder), None, "last")
    assert parse_model(f"{folder}=tuned") == Model(str(folder), None, "tuned")


def test_two_runs_may_serve_the_same_checkpoint_number(tmp_path: Path) -> None:
    folders = [tmp_path / run / "checkpoint-500" for run in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    served = models_to_serve(list(map(str, folders)))
    assert [model.name for model in served.torch] == ["one_checkpoint-500", "two_checkpoint-500"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "empty path"),
        ("=name", "empty path"),
        (f"{HUB}=", "empty name"),
        ("me/lora@=name", "empty base"),
        ("./missing=name", "there is no folder missing"),
        ("me/lora@/missing/base=name", "there is no folder /missing/base"),
        ("a/b/c", "there is no folder a/b/c"),
        ("llava-tinny", "there is no folder llava-tinny"),
        ("~nobody-of-this-name/x", "there is no folder ~nobody-of-this-name/x"),
        ("a" * 300, "cannot look at a+: File name too long"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_reason(spec: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason) as refused:
        parse_model(spec)
    assert "PATH=NAME" in refused.value.remedy


def test_without_a_flag_the_two_bundled_models_are_served() -> None:
    assert models_to_serve([]) == Models(BUNDLED, ())
    assert [model.name for model in BUNDLED] == ["llava-tiny", "llava-tiny-one-word"]


def test_two_different_models_cannot_share_a_name() -> None:
    with pytest.raises(CommandError, match=r"a/x and b/x would both be served as 'x'"):
        models_to_serve(["a/x", "b/x"])
    with pytest.raises(CommandError, match=r"a/x and b/x would both be served as 'x'"):
        models_to_serve(["a/x"], ["b/x"])


def test_one_model_may_be_served_twice() -> None:
    assert len(models_to_serve(["a/x", "a/x"]).torch) == 2


def test_what_sglang_serves_takes_the_place_of_the_bundled_models() -> None:
    assert models_to_serve([], ["a/x=y"]) == Models((), (Model("a/x", None, "y"),))
    assert models_to_serve(["a/x"], ["a/x"]) == Models(*2 * [(Model("a/x", None, "x"),)])


def test_sglang_serves_no_adapter() -> None:
    with pytest.raises(CommandError, match="--sglang 'a/x@a/y': an adapter"):
        models_to_serve([], ["a/x@a/y"])
