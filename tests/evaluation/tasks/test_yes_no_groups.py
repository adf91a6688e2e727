"""Files of yes and no that VLMEvalKit counts in ways of their own are counted so here."""

from pathlib import Path

import pytest

from llava_serve.evaluation.tasks.tsv import Tsv
from tests.evaluation.tasks.answering import answered, metrics_of, original
from tests.evaluation.tasks.drawn import png, write_tsv

CASES = original("yes_no_groups")


def metrics(folder: Path, name: str) -> dict[str, float]:
    case = CASES[name]
    (folder / "images").mkdir()
    (folder / "images" / "0.jpg").write_bytes(png())
    columns = [*case["columns"][:-1], "question"]
    rows = [[*row[:-1], "Is it there?"] for row in case["rows"]]
    task = Tsv(write_tsv(folder / f"{name}.tsv", columns, rows))
    asked = next(task.questions()).prompt
    assert asked == "Is it there?" + ("\nPlease answer yes or no." if name == "AMBER" else "")
    return metrics_of(task, answered(task, [row[-1] for row in case["rows"]]))


def test_mme_has_its_scores(tmp_path: Path) -> None:
    found = metrics(tmp_path, "MME")
    (expected,) = CASES["MME"]["result"]
    assert found["perception"] == pytest.approx(expected.pop("perception"), rel=1e-12)
    assert found["cognition"] == pytest.approx(expected.pop("reasoning"), rel=1e-12)
    assert len(expected) == 14
    for subtask, score in expected.items():
        assert found[f"{subtask}/score"] == pytest.approx(score, rel=1e-12)


def test_hallusion_bench_counts_figures_and_questions(tmp_path: Path) -> None:
    found = metrics(tmp_path, "HallusionBench")
    names = {"aAcc": "accuracy", "fAcc": "facc", "qAcc": "qacc"}
    prefixes = {"Overall": "", "VS": "VS/", "VD": "VD/"}
    for row in CASES["HallusionBench"]["result"]:
        prefix = prefixes.get(row["split"], f"l2-category/{row['split']}/")
        for theirs, ours in names.items():
            assert found[prefix + ours] == pytest.approx(row[theirs] / 100, rel=1e-12)


def test_amber_is_the_mean_over_its_three_kinds(tmp_path: Path) -> None:
    found = metrics(tmp_path, "AMBER")
    (expected,) = CASES["AMBER"]["result"]
    assert found["avg_acc"] == pytest.approx(expected.pop("Avg ACC") / 100, rel=1e-12)
    for kind, percent in expected.items():
        assert found[f"{kind}/accuracy"] == pytest.approx(percent / 100, rel=1e-12)
