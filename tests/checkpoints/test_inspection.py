"""`inspect` says what a checkpoint is without loading it, and `convert` says where it wrote."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_serve.checkpoints import __main__ as command
from llava_serve.request import Image
from llava_serve.tiny import CHECKPOINT
from tests.checkpoints.conftest import CopyCase
from tests.checkpoints.golden_cases import ALL, GOLDEN, Golden

Tell = Callable[..., dict[str, list[str]]]

ONE_WORD = CHECKPOINT.parent / "llava-tiny-one-word"
B, E = GOLDEN / "B_llava16_mistral" / "checkpoint", GOLDEN / "E_lora_and_projector"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tell:
    """Run the command with these arguments; return its lines by their first word."""

    def run(*arguments: str | Path) -> dict[str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["checkpoints", *map(str, arguments)])
        command.main()
        lines: dict[str, list[str]] = {}
        for line in capsys.readouterr().out.splitlines():
            lines.setdefault(line[:16].strip(), []).append(line[17:])
        return lines

    return run


def test_an_original_checkpoint_is_told_with_its_template_and_why(told: Tell) -> None:
    lines = told("inspect", B)
    assert lines["layout"] == ["original, model"]
    assert lines["family"] == ["llava_next, language model mistral: 2 layers of width 32"]
    assert lines["vision tower"][0].endswith(
        "4 layers of width 32, 8 x 8 patches a tile of 112 pixels"
    )
    assert lines["pictures"] == ["anyres, packed as spatial_unpad"]
    assert lines["template"] == ["mistral_instruct: the language model is of type 'mistral'"]
    assert lines["context"] == ["4096 tokens"]
    assert lines["weights"] == ["0.1 million numbers, stored as 32 bits"]
    assert [line.split("(")[1].split(")")[0] for line in lines["memory"]] == [
        "--dtype float32",
        "--dtype bfloat16 or float16",
        "--load-8bit --dtype bfloat16",
        "--load-4bit --dtype bfloat16",
    ]
    assert "fits in float32, 16 bits, 8 bits, 4 bits" in lines["cpu"][0]


@pytest.mark.parametrize("golden", [each for each in ALL if each.key == "round_edge"], ids=str)
def test_image_tokens_are_those_of_the_prompt_and_the_rounding_edge_is_noted(
    told: Tell, golden: Golden
) -> None:
    """At such a size a converted checkpoint keeps another number of rows."""
    picture = golden.media[0]
    assert isinstance(picture, Image)
    width, height = picture.image.size
    lines = told("inspect", GOLDEN / golden.case / "checkpoint", "--picture", f"{width}x{height}")
    text = sum(token != -200 for token in golden.expected("input_ids").tolist())
    count = golden.length - text
    assert lines["image tokens"] == [f"{count} for a picture of {width} x {height}"]
    assert lines["note"][0].startswith(f"{width} x {height} is a size for which transformers'")


def test_ordinary_sizes_have_no_note(told: Tell) -> None:
    assert "note" not in told("inspect", B, "--picture", "640x480", "336x336")


def test_a_lora_is_told_with_its_base(told: Tell) -> None:
    lines = told("inspect", E / "llava-v1.5-tiny-lora", "--model-base", E / "vicuna-base")
    assert lines["layout"] == [f"original, lora on {E / 'vicuna-base'}"]


def test_the_checkpoint_that_ships_is_told(told: Tell) -> None:
    lines = told("inspect", CHECKPOINT, "--picture", "96x96")
    assert lines["layout"] == ["hf"]
    assert lines["family"][0].startswith("llava_onevision, language model qwen2")
    assert lines["template"] == ["the checkpoint's chat template: it brings one"]
    assert lines["image tokens"][0].endswith(" for a picture of 96 x 96")


def test_an_adapter_is_told_by_its_base(told: Tell) -> None:
    lines = told("inspect", ONE_WORD, "--model-base", CHECKPOINT)
    assert lines["layout"] == [f"hf, adapter on {CHECKPOINT}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", ONE_WORD], "give --model-base"),
        (["inspect", B, "--picture", "wide"], "takes a size like 640x480, not 'wide'"),
        (["convert", CHECKPOINT, "out"], "not in LLaVA's original layout: nothing to convert"),
        (["convert", B], "convert needs PATH, and OUT"),
        (["convert", B, "out", "--bogus"], "unrecognized arguments: --bogus"),
        ([], "convert PATH OUT"),
    ],
)
def test_what_cannot_be_done_is_said_with_code_2(
    arguments: list[str | Path],
    message: str,
    told: Tell,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_:
        told(*arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("command", "flag"), [("inspect", "--slots"), ("convert", "--dtype")])
def test_each_command_lists_its_flags(
    command: str, flag: str, told: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        told(command, "--help")
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m llava_serve.checkpoints {command} PATH")
    assert flag in shown


def test_convert_says_what_it_wrote_for_all_to_read(told: Tell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = told("convert", B, out)
    assert "LlavaNextForConditionalGeneration" in str(lines)
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1


def test_what_does_not_load_is_not_told(
    told: Tell, copied: CopyCase, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied("A", mm_projector_type="mlp3x_gelu")
    with pytest.raises(SystemExit):
        told("inspect", folder)
    assert "says mm_projector_type 'mlp3x_gelu'" in capsys.readouterr().err
