"""Images of 24.5 megapixels, few bytes as files, are read in little memory, alone and together."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.slow,
]
LIMIT_KB = 4_000_000  # of addresses: threads and libraries reserve more than they fill
ROOT = Path(__file__).parents[2]


def run(*command: str) -> str:
    limited = f"ulimit -v {LIMIT_KB} && exec {sys.executable} " + '"$@"'
    done = subprocess.run(
        ["bash", "-c", limited, "bash", *command],
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def drawn(folder: Path, kind: str, mode: str) -> Path:
    path = folder / f"{kind}-{mode}"
    draw = f"""
        from PIL import Image
        image = Image.new("RGB", (7000, 3500), (200, 30, 30)).convert({mode!r})
        image.save({str(path)!r}, {kind!r})
    """
    run("-c", textwrap.dedent(draw))
    return path


@pytest.mark.parametrize(
    ("kind", "mode", "one_mib", "four_mib"),
    [("JPEG", "RGB", 60, 120), ("PNG", "RGB", 150, 300), ("PNG", "RGBA", 250, 500)],
)
def test_huge_pictures_take_little_memory_alone_and_together(
    tmp_path: Path, kind: str, mode: str, one_mib: int, four_mib: int
) -> None:
    path = drawn(tmp_path, kind, mode)
    assert path.stat().st_size < 1_000_000
    assert int(run("-m", "tests.media.peak", str(path), "1")) < one_mib
    assert int(run("-m", "tests.media.peak", str(path), "4")) < four_mib


def test_many_requests_with_many_huge_pictures_wait_for_each_other(tmp_path: Path) -> None:
    path = drawn(tmp_path, "PNG", "RGB")
    assert int(run("-m", "tests.media.peak", str(path), "6", "2")) < 600
