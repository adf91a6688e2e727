"""The moderation check: what passes, what does not, and what happens when nobody can tell."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException

from llava_serve.errors import ModerationRefused, ModerationUnavailable
from llava_serve.http import serving
from llava_serve.web.moderation import Moderation, check_all, read_key

CATEGORIES = ("violence", "hate")


@pytest.fixture
def checked() -> list[str]:
    """What the server was asked about."""
    return []


@pytest.fixture
async def moderation(checked: list[str]) -> AsyncIterator[Moderation]:
    """A check against a small server of OpenAI's interface: `bad` is flagged, `down` fails."""
    app = FastAPI()

    @app.post("/moderations")
    async def moderate(body: dict[str, Any]) -> dict[str, Any]:
        checked.append(body["input"])
        if body["input"] == "down":
            raise HTTPException(401, "wrong key")
        flagged = body["input"] == "bad"
        result = {
            "flagged": flagged,
            "categories": {name: flagged and name == "violence" for name in CATEGORIES},
            "category_scores": dict.fromkeys(CATEGORIES, 0.5),
            "category_applied_input_types": {},
        }
        return {"id": "m", "model": "m", "results": [result]}

    async with serving.served(app) as address:
        check = Moderation("key", base_url=address)
        yield check
        await check.close()


async def test_a_harmless_question_passes(moderation: Moderation, checked: list[str]) -> None:
    await moderation.check("good")
    assert checked == ["good"]


async def test_a_flagged_question_is_refused_with_the_category(moderation: Moderation) -> None:
    with pytest.raises(ModerationRefused, match=r"violence$"):
        await moderation.check("bad")


async def test_a_check_that_fails_is_no_pass(moderation: Moderation) -> None:
    with pytest.raises(ModerationUnavailable, match="not checked, and so not asked"):
        await moderation.check("down")


async def test_texts_are_checked_until_one_does_not_pass_and_blank_ones_are_not(
    moderation: Moderation, checked: list[str]
) -> None:
    with pytest.raises(ModerationRefused):
        await check_all(moderation, ["", " good ", "\n", "bad", "never"])
    assert checked == ["good", "bad"]
    await check_all(None, ["bad"])


def test_the_key_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    assert read_key(tmp_path / "key") == "sk-1"


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("\n", "is empty")])
def test_without_a_key_the_command_says_so(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(SystemExit, match=said):
        read_key(tmp_path / "key")
