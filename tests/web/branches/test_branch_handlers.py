"""A question is edited in the composer, and arrows lead from version to version."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_serve.errors import InvalidField, ServeError, WorkerLost
from llava_serve.web.branches.branch_handlers import (
    BranchHandlers,
    CancelClick,
    EditClick,
    VersionClick,
)
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.handlers import CHAT_TAB, Handlers
from llava_serve.web.sessions import Known, Place
from tests.web.conftest import settled
from tests.web.test_handlers import CONTROLS, message


class Page:
    """A browser tab with two questions that were answered."""

    def __init__(self, services: Services) -> None:
        self.handlers = Handlers(services, CHAT_TAB)
        self.branches = BranchHandlers(self.handlers)
        self.place = Place(ChatState(wanted=("echo",)), Known())

    async def ask(self, text: str, *files: Path) -> dict[str, Any]:
        about = {"text": text, "files": [str(file) for file in files]}
        view = await self.branches.submit(self.place, about, *CONTROLS)
        await settled(self.place.conversation)
        return view

    async def edit(self, turn: int, typed: str = "") -> dict[str, Any]:
        return await self.branches.edit(self.place, EditClick(turn=turn), message(typed))

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.place.conversation.exchanges]


@pytest.fixture
async def page(services: Services, upload_folder: Path) -> Page:
    page = Page(services)
    (upload_folder / "a").mkdir(parents=True)
    Image.new("RGB", (6, 4)).save(upload_folder / "a" / "dot.png")
    await page.ask("one", upload_folder / "a" / "dot.png")
    await page.ask("two")
    return page


async def test_any_question_comes_into_the_composer_with_its_files(page: Page) -> None:
    view = await page.edit(0)
    typed = view["composer"]["value"]
    assert typed["text"] == "one" and [Path(file).name for file in typed["files"]] == ["dot.png"]
    assert "editing “one”" in view["editing"]
    assert page.texts == ["one", "two"]
    view = await page.ask("uno", *map(Path, typed["files"]))
    assert view["editing"] == "" and page.texts == ["uno"]
    await page.branches.go(page.place, VersionClick(turn=0, of="question", step=-1))
    assert page.texts == ["one", "two"]


async def test_a_draft_is_not_overwritten_by_a_question(page: Page) -> None:
    first, again = [await page.edit(1, "a draft") for _ in range(2)]
    assert "what you have typed" in json.loads(first["signal"])["told"]
    assert again["signal"] != first["signal"]  # so that the browser says it again
    assert page.place.editing is None
    await page.edit(1, " ")
    view = await page.edit(0, "two")  # nothing of the edit was typed yet
    assert view["composer"]["value"]["text"] == "one"
    view = await page.edit(1, "one and more")
    assert "what you have typed" in json.loads(view["signal"])["told"]


async def test_without_its_files_a_question_is_not_edited(page: Page) -> None:
    (file,) = page.place.conversation.exchanges[0].files
    page.handlers.service.services.media.delete(file.filename)
    with pytest.raises(ServeError):
        await page.edit(0)
    assert page.place.editing is None
    await page.ask("three")
    assert page.texts == ["one", "two", "three"]


async def test_an_edit_takes_an_error_away_and_can_be_cancelled(page: Page) -> None:
    page.place.conversation.notice = WorkerLost("http://w", "gone")
    await page.edit(1)
    assert (await page.handlers.draw(page.place.conversation, None)).notice == ""
    view = await page.branches.cancel(page.place, CancelClick())
    assert view["composer"]["value"] == {"text": "", "files": []} and view["editing"] == ""
    await page.ask("three")
    assert page.texts == ["one", "two", "three"]


async def test_a_question_that_is_refused_is_still_edited(page: Page) -> None:
    await page.edit(1)
    view = await page.ask("  ")
    assert "editing “two”" in view["editing"] and page.texts == ["one", "two"]
    await page.ask("deux")
    assert page.texts == ["one", "deux"]


async def test_what_another_tab_has_hidden_meanwhile_is_not_edited(page: Page) -> None:
    await page.edit(1)
    other = Place(page.place.conversation, Known())
    await page.branches.edit(other, EditClick(turn=0), message(""))
    await page.branches.submit(other, message("uno"), *CONTROLS)
    await settled(other.conversation)
    view = await page.ask("deux")
    assert "not shown any more" in json.loads(view["signal"])["told"]
    assert page.texts == ["uno"]
    await page.ask("deux")
    assert page.texts == ["uno", "deux"]


async def test_a_new_conversation_has_nothing_to_edit(page: Page) -> None:
    await page.edit(1)
    view = await page.branches.clear(page.place)
    assert view["editing"] == "" and page.place.editing is None
    await page.branches.undo(page.place)
    assert page.texts == ["one", "two"]


async def test_nothing_changes_while_an_answer_is_made(page: Page) -> None:
    await page.branches.submit(page.place, message("word " * 1000), *CONTROLS)
    conversation = page.place.conversation
    await page.edit(0)
    assert page.place.editing is None and conversation.notice is not None
    conversation.stop()
    await settled(conversation)
    await page.handlers.again(page.place, *CONTROLS)
    await page.branches.go(page.place, VersionClick(turn=2, of="answer", step=-1))
    assert conversation.notice is not None and conversation.notice.code == "conversation_busy"
    conversation.stop()
    await settled(conversation)
    await page.branches.go(page.place, VersionClick(turn=2, of="answer", step=-1))
    assert conversation.notice is None
    assert conversation.exchanges[2] is conversation.exchanges[2].versions[0]


async def test_a_click_on_no_question_is_refused(page: Page) -> None:
    with pytest.raises(InvalidField, match="there are 2"):
        await page.edit(2)
    with pytest.raises(InvalidField, match="there are 2"):
        await page.branches.go(page.place, VersionClick(turn=2, of="answer", step=1))
    await page.branches.go(page.place, VersionClick(turn=1, of="answer", step=1))
    assert page.texts == ["one", "two"]


async def test_versions_are_counted_at_their_turn(page: Page) -> None:
    await page.edit(1)
    await page.ask("<b>deux</b>")
    await page.handlers.again(page.place, *CONTROLS)
    await settled(page.place.conversation)
    view = await page.edit(1)
    assert "<b>" not in view["editing"]
    first, second = (await page.handlers.draw(page.place.conversation, None)).settled
    assert "versions" not in first and 'data-edit="0"' in first
    assert second.count("<span>2 / 2</span>") == 2
    assert second.count('aria-disabled="true"') == 2
    for of in ("question", "answer"):
        assert f'data-step="-1" data-turn="1" data-of="{of}"' in second
