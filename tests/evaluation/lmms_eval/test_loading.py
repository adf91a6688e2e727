"""Without lmms-eval, which the environment of the tests has not, its remedy is told."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from llava_serve.evaluate import main

pytestmark = pytest.mark.skipif(
    find_spec("lmms_eval") is not None, reason="lmms-eval is installed here"
)


def test_the_missing_extra_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--task", "lmms:pope", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == (
        "--task lmms:... needs lmms-eval, which is not installed. "
        'Install it: python -m pip install -e ".[lmms-eval]"\n'
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--task", "lmms:pope", "--data", "."], "--data belongs to every --task but lmms:NAME"),
        (["--task", "pope"], "--data belongs to every --task but lmms:NAME"),
        (
            ["--task", "pope", "--data", ".", "--include-path", "."],
            "--include-path belongs to --task lmms:NAME",
        ),
    ],
)
def test_flags_of_other_tasks_are_refused(
    flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(flags)
    assert reason in capsys.readouterr().err
