"""Page of a report: what it shows, what it must not let in, and how it looks in a browser."""

import re
from pathlib import Path

import pytest

from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.question import Medium, Question, Turn
from llava_serve.evaluation.report.compare import compare
from llava_serve.evaluation.report.compare_config import CompareConfig
from llava_serve.evaluation.report.formatting import (
    metric,
    p_value,
    percent,
    points,
    seconds,
    truth_text,
)
from llava_serve.evaluation.report.question_images import find_thumbnails, thumbnails_of
from llava_serve.evaluation.report.write import write_report
from tests.evaluation.report.seen_page import HOSTILE, Seen, require_readable
from tests.evaluation.report.small_run import (
    COLOURS,
    SmallTask,
    drawn,
    graded,
    manifest_of,
    write_run,
)


def answers_of(count: int, text: str = "pink") -> list[GradedAnswer]:
    answers = []
    for at in range(count):
        said = COLOURS[at % 5] if at % 4 else text
        timed = {"first_token_s": 0.1 + at / 100, "total_s": 0.2 + at / 20, "tokens": 3}
        answers.append(graded(at, said, logprob=-(at % 7) / 3, **timed))
    answers[1] = graded(1, None)
    return answers


def page_of(path: Path, count: int = 40, text: str = "pink", model: str = "llava-tiny") -> str:
    manifest = manifest_of(count, model=model, data=str(path))
    controls = {
        "gray": [graded(at, "red") for at in range(count)],
        "swapped": [graded(at, "blue") for at in range(count)],
    }
    folder, _ = write_run(path, manifest, original=answers_of(count, text), **controls)
    write_report(folder, SmallTask(count), manifest)
    return folder.report_html.read_text(encoding="utf-8")


def test_a_page_shows_what_the_report_holds(tmp_path: Path) -> None:
    text = " ".join(Seen(page_of(tmp_path)).text.split())
    for told in (
        "small: llava-tiny",
        "40 questions of ",
        "mean credit 74.4 % 95 %: 58.9\N{EN DASH}85.4; 39 graded",
        "of 40; 1 failed",
        "engine_failure 1 engine_failure in q1",
        "Gray pictures 72.4 % of the score needs the true picture: +53.8 points",
        "Pictures of other questions",
        "Wrong, and surest of it",
        "first token",
        "3.0 each, 3 at most",
    ):
        assert told in text, told


def test_what_models_say_is_text(tmp_path: Path) -> None:
    """No tag, handler or address of theirs is in the page, wherever their words are shown."""
    manifest = manifest_of(3, model=HOSTILE, data=HOSTILE)
    answers = [
        graded(0, HOSTILE, truth=HOSTILE, kind=HOSTILE, prompt=HOSTILE, id=HOSTILE),
        graded(1, None, failure=HOSTILE),
        graded(2, HOSTILE, credit=1.0, kind="colour"),
    ]
    folder, _ = write_run(tmp_path, manifest, original=answers)
    write_report(folder, SmallTask(3), manifest)
    seen = Seen(folder.report_html.read_text(encoding="utf-8"))
    assert "script" not in seen.tags
    assert seen.handlers == []
    assert all(address.startswith("data:image/jpeg;base64,") for address in seen.addresses)
    assert seen.text.count("alert(1)") > 7


def test_a_page_asks_nothing_of_a_network(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    seen = Seen(page)
    assert {"script", "link", "iframe", "form", "object"}.isdisjoint(seen.tags)
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-" in page


def test_a_run_without_anything_has_a_page(tmp_path: Path) -> None:
    manifest = manifest_of(2)
    folder, _ = write_run(tmp_path, manifest, original=[])
    write_report(folder, SmallTask(2), manifest)
    text = " ".join(Seen(folder.report_html.read_text(encoding="utf-8")).text.split())
    assert "of 2; 0 failed, 2 never asked" in text
    assert "nothing graded" in text


def test_metrics_of_parts_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    manifest = manifest_of(1)
    folder, outcomes = write_run(tmp_path, manifest, original=[graded(0, "red")])
    metrics = {"accuracy": 0.5, "odd/accuracy": 0.25, "odd/f1": 0.125, "even/accuracy": 0.75}
    folder.write_outcomes(
        {"original": outcomes["original"].model_copy(update={"metrics": metrics})}
    )
    write_report(folder, SmallTask(1), manifest)
    text = " ".join(Seen(folder.report_html.read_text(encoding="utf-8")).text.split())
    told = "part accuracy f1 odd 0.2500 0.1250 even 0.7500 \N{EN DASH}"
    assert f"metric true pictures accuracy 0.5000 {told}" in text


def test_one_unnamed_kind_has_no_row_of_its_own(tmp_path: Path) -> None:
    manifest = manifest_of(4)
    answers = [graded(at, "red", kind="") for at in range(4)]
    folder, _ = write_run(tmp_path, manifest, original=answers)
    write_report(folder, SmallTask(4), manifest)
    page = folder.report_html.read_text(encoding="utf-8")
    assert "(without a kind)" not in page
    assert '<th scope="row">all</th>' in page


def test_thumbnails_are_small_and_in_order() -> None:
    found = find_thumbnails(SmallTask(100), {3, 60})
    assert list(found) == [3, 60]
    assert all(uri.startswith("data:image/jpeg;base64,") for (uri,) in found.values())
    assert all(len(uri) < 5_000 for (uri,) in found.values())


def test_an_image_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    media = (Medium(tmp_path / "gone.png"), Medium(b"no image"), Medium(drawn("red")))
    question = Question(id="", turns=(Turn("user", "", media),))
    assert len(thumbnails_of(question)) == 1


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (percent(0.71449), "71.4 %"),
        (percent(None), "\N{EN DASH}"),
        (points(-0.0261), "\N{MINUS SIGN}2.6"),
        (points(0.0261), "+2.6"),
        (points(-0.0001), "0.0"),
        (metric(0.85329), "0.8533"),
        (metric(1510.72), "1,510.7"),
        (seconds(0.0123), "12.3 ms"),
        (seconds(0.5), "0.50 s"),
        (seconds(1234.5), "1,234 s"),
        (p_value(0.0004), "< 0.001"),
        (truth_text(["no", "yes", "yes"]), "yes (x2), no"),
        (truth_text({"a": 1}), '{"a": 1}'),
        (truth_text(None), "not public"),
    ],
)
def test_numbers_are_written_for_people(written: str, wanted: str) -> None:
    assert written == wanted


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report.html", "compare.html"])
async def test_a_page_reads_well_from_a_file(
    tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    """axe-core finds nothing, nothing hangs over the edge, and nothing is asked or refused."""
    page_of(tmp_path / "a", text=HOSTILE, model="a-model-with-a-very-long-name" * 4)
    page_of(tmp_path / "b", count=30)
    config = CompareConfig(out=tmp_path / "a")
    compare(tmp_path / "a", tmp_path / "b", config, lambda task, data: SmallTask(40))
    await require_readable(tmp_path / "a" / name, width, scheme)
