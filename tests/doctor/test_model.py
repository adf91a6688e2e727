"""The check of a model says whether it loads and fits."""

from pathlib import Path

from llava_serve import tiny
from llava_serve.doctor.model import check_model, finding_of


def test_the_checkpoint_that_ships_fits() -> None:
    found = check_model(str(tiny.CHECKPOINT), None)
    assert (found.level, "float32" in found.message) == ("ok", True)


def test_a_folder_that_is_no_checkpoint_is_a_problem(tmp_path: Path) -> None:
    assert check_model(str(tmp_path), None).level == "problem"


def test_a_hub_name_is_not_fetched() -> None:
    assert check_model("llava-hf/llava-1.5-7b-hf", None).level == "warning"


def test_a_model_that_fits_only_in_few_bits_comes_with_its_flag() -> None:
    sizes = {"float32": 30, "16 bits": 15, "8 bits": 8, "4 bits": 5}
    free = {40: "ok", 16: "ok", 9: "warning", 6: "warning", 4: "problem"}
    for room, level in free.items():
        assert finding_of("P", sizes, room, "cuda").level == level
    assert "--load-4bit" in finding_of("P", sizes, 6, "cuda").remedy
