"""Every word of the page is one of its language, which its menu chooses and keeps.

The language is made for the test: each English text stands in ⟦brackets⟧. What is outside of them
is shown in English whatever the language is. Questions, names and models have no letters here.
"""

import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from llava_serve.web.translations.catalogue import CHINESE, ENGLISH, Text, plural_categories
from llava_serve.web.translations.language import Languages
from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack, page_served

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

QUESTION = "1 + 1?"
# The product, names of files, units, formats, letters of answers, what an echo says of a picture.
ALLOWED = (
    r"llava_serve|[\w-]+\.(?:png|csv|html|json)|(?<!\w)(?:s|ms|MB|tok/s|PNG)(?!\w)|\d\.\ds"
    r"|(?<!\w)[A-F](?:1-\d)?(?!\w)|\[1 picture: 320x240\]"
)
# Names of keys, code, and a language's name in itself are the same in every language.
OUTSIDE = """
([allowed, elsewhere]) => {
  const found = [];
  let depth = 0;
  const look = (where, text) => {
    let outside = '';
    for (const character of text) {
      if (character === '⟦') depth++;
      else if (character === '⟧') depth--;
      else if (depth === 0) outside += character;
    }
    if (/\\p{L}/u.test(outside.replace(new RegExp(allowed, 'gu'), ''))) {
      found.push(`${where}: ${text.trim()}`);
    }
  };
  look('title of the page', document.title);
  const {FILTER_ACCEPT, FILTER_REJECT, SHOW_ALL} = NodeFilter;
  const walker = document.createTreeWalker(document.body, SHOW_ALL, (node) => {
    const isText = node.nodeType === Node.TEXT_NODE;
    if (node.nodeType !== Node.ELEMENT_NODE) return isText ? FILTER_ACCEPT : FILTER_REJECT;
    const isIn = node.checkVisibility() && !node.matches(elsewhere);
    return isIn ? FILTER_ACCEPT : FILTER_REJECT;
  });
  const whose = (one) => {
    const within = one.closest('[id]');
    return `${one.tagName.toLowerCase()}.${one.getAttribute('class') ?? ''} in #${within?.id}`;
  };
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.nodeType === Node.TEXT_NODE) look(whose(node.parentElement), node.data);
    else for (const name of ['placeholder', 'title', 'aria-label', 'alt']) {
      if (node.hasAttribute(name)) look(`${name} of ${whose(node)}`, node.getAttribute(name));
    }
  }
  if (depth !== 0) found.push(`brackets do not match: ${depth}`);
  return found;
}
"""
ELSEWHERE = "script, style, noscript, code, kbd, math, [lang]"


def in_brackets(text: Text) -> Text:
    """Polish has four forms of what English has in two; each says which it is."""
    if isinstance(text, str):
        return f"⟦{text}⟧"
    return {form: f"⟦{form}: {text['other']}⟧" for form in plural_categories("pl")}


def made_language(folder: Path) -> Path:
    errors = {key: f"⟦{key}.⟧" for key in CHINESE.messages.keys() - ENGLISH.messages.keys()}
    texts = {key: in_brackets(text) for key, text in ENGLISH.messages.items()}
    path = folder / "pl.json"
    path.write_text(
        json.dumps({"language": "pl", "name": "⟦Polski⟧", "messages": texts | errors}), "utf-8"
    )
    return path


async def choose(page: Page, tag: str) -> None:
    """Choose a language in the menu, and wait for the page in it."""
    async with page.expect_navigation():
        await page.locator("select.language").select_option(tag)
    await expect(page.locator("html")).to_have_attribute("lang", tag)


class Views:
    """Views of the page, and what each shows outside of the brackets."""

    def __init__(self, tab: Tab, size: tuple[int, int]) -> None:
        self.tab, self.page, self.is_phone = tab, tab.page, size[0] < 1000
        self.outside: dict[str, list[str]] = {}
        self.models_served = ""

    async def look(self, view: str) -> None:
        known = {one for found in self.outside.values() for one in found}
        found = await self.page.evaluate(OUTSIDE, [ALLOWED, ELSEWHERE])
        self.outside[view] = sorted(set(found) - known)

    async def to(self, number: int, name: str) -> None:
        await self.page.get_by_role("tab").nth(number).click()
        self.tab.name = name

    async def ask(self, answers: int, *files: Path) -> None:
        await self.tab.ask(QUESTION, *files)
        await self.tab.answered(answers)

    async def chat(self, image: Path) -> None:
        page, tab = self.page, self.tab
        await expect(tab.model).to_have_value("1-1")
        await expect(tab.transcript.locator(".example")).to_be_visible()
        await expect(page.locator("#chat-status")).to_contain_text("3")
        await self.look("the page as it opens")
        self.models_served = await page.locator("#chat-status").inner_text()
        await tab.composer.locator("input[type=file]").set_input_files(image)
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
        await tab.textbox.fill(QUESTION)
        await expect(page.locator("#chat-cost")).to_contain_text("4,0")
        await self.look("a draft with a picture")
        await tab.textbox.press("Enter")
        await tab.answered(1)
        await self.look("an answer")
        await page.locator(".votes [data-vote=up]").click()
        await expect(page.locator(".votes [data-vote=up]")).to_have_attribute(
            "aria-pressed", "true"
        )

    async def refused_and_cropped(self, image: Path) -> None:
        page, tab = self.page, self.tab
        files = tab.composer.locator("input[type=file]")
        await files.set_input_files(image)
        await page.locator(".edit-image").click()
        await expect(page.locator("#crop .size")).not_to_be_empty()
        await self.look("a picture that is cropped")
        await page.keyboard.press("Escape")
        damaged = image.with_name("2.png")
        damaged.write_bytes(b"0")
        await files.set_input_files(damaged)
        await expect(page.locator(".refusals .without")).to_be_visible()
        await self.look("a file that is refused")
        await page.locator(".refusals .close").click()
        await tab.composer.locator(".delete-button").click()

    async def over_the_page(self) -> None:
        page = self.page
        await page.locator("#chat-history [data-inspect]").first.click()
        await expect(page.locator("#saw .prompt")).to_be_visible()
        await self.look("what the model saw")
        await page.keyboard.press("Escape")
        await page.locator("#shortcuts-toggle").click()
        await expect(page.locator("#shortcuts")).to_be_visible()
        await self.look("keyboard shortcuts")
        await page.keyboard.press("Escape")

    async def parameters(self) -> None:
        page = self.page
        save = page.locator("#chat-preset-save")
        await page.locator("#chat-tab .parameters > button").click()
        await expect(save).to_be_visible()
        await page.locator("#chat-preset-name").locator("input, textarea").fill("1")
        await save.click()
        await expect(page.locator("#chat-preset-said")).to_contain_text("1")
        await self.look("parameters and a preset")
        await page.locator("#chat-tab .parameters > button").click()

    async def past(self) -> None:
        page = self.page
        if self.is_phone:
            await page.locator("#past-toggle").click()
        await page.locator("#past summary").first.click()
        await page.locator("#past details details summary").first.click()
        await expect(page.locator("#past [data-do=delete]")).to_be_visible()
        await self.look("past conversations")
        await page.locator("#past [type=search]").fill("9")
        await expect(page.locator("#past .hint")).to_be_visible()
        await self.look("none found")
        await page.locator("#past [type=search]").fill("")
        if self.is_phone:
            await page.locator("#past-toggle").click()

    async def failed(self, crash: Callable[[], Awaitable[None]]) -> None:
        await crash()
        await self.to(0, "chat")
        await self.ask(2)
        await expect(self.tab.answers.last.locator(".card.error")).to_be_visible()
        await self.look("a failed answer")

    async def compare(self) -> None:
        page, tab = self.page, self.tab
        await self.to(1, "compare")
        await expect(page.locator("#compare-status")).not_to_be_empty()
        await self.look("a comparison as it opens")
        await page.locator("button.folder-open").click()
        await expect(page.locator("#folder form")).to_be_visible()
        await self.look("a folder")
        await page.keyboard.press("Escape")
        await self.ask(2)
        await self.look("a comparison")
        await tab.transcript.locator("button.differences").click()
        await expect(page.locator("#differences")).to_be_visible()
        await self.look("differences")
        await page.keyboard.press("Escape")
        await page.locator("#better-B").click()
        await expect(tab.transcript.locator(".note.vote")).to_contain_text("1-2")
        await self.look("a vote of a comparison")

    async def arena(self) -> None:
        page, tab = self.page, self.tab
        await self.to(2, "arena")
        await expect(page.locator("#arena-status")).to_contain_text("3")
        await self.look("the arena as it opens")
        await self.ask(2)
        await self.look("a battle")
        await page.locator("#arena-b").click()
        await expect(tab.transcript.locator(".outcome")).to_contain_text("1-")
        await self.look("a battle with its vote")

    async def leaderboard(self) -> None:
        await self.to(3, "leaderboard")
        await expect(self.page.locator("#leaderboard .ratings")).to_contain_text("1-")
        await self.page.locator("#leaderboard-task input").click()
        await expect(self.page.locator("[role=option]").first).to_be_visible()
        await self.look("the leaderboard and its tasks")
        await self.page.keyboard.press("Escape")


@SIZES
async def test_every_word_is_of_the_language_of_the_page(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    for model in ("1-1", "1-2", "1-3"):
        await stack.join(model)
    folder = tmp_path / "own"
    (folder / "examples").mkdir(parents=True)
    image = folder / "examples" / "1.png"
    shutil.copy(shapes, image)
    example = {"files": [image.name], "question": QUESTION, "answer": "2"}
    (folder / "examples" / "examples.json").write_text(json.dumps([example]))
    languages = Languages.of([made_language(tmp_path)])
    async with (
        page_served(stack.controller, folder, languages=languages) as (address, _),
        opened(browser, "about:blank", size) as tab,
    ):
        cookie = {"name": "language", "value": "pl", "url": address}
        await tab.page.context.add_cookies([cookie])  # type: ignore[list-item]
        await tab.page.goto(address)
        await expect(tab.page.locator("html")).to_have_attribute("lang", "pl")
        views = Views(tab, size)
        await views.chat(image)
        await views.refused_and_cropped(image)
        await views.over_the_page()
        await views.parameters()
        await views.past()
        await views.compare()
        await views.arena()
        await views.leaderboard()
        await views.failed(lambda: stack.crash("1-1"))
    told = [f"{view}: {one}" for view, found in views.outside.items() for one in found]
    assert told == [], "\n".join(["in English whatever the language is:", *told])
    assert "few: 3" in views.models_served


@SIZES
async def test_the_menu_chooses_a_language_that_stays(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        page = tab.page
        await expect(page.locator("html")).to_have_attribute("lang", "en")
        await expect(page.locator("select.language option")).to_have_text(["English", "中文"])
        await choose(page, "zh")
        await expect(page.get_by_role("tab").first).to_have_text(CHINESE.translate("chat.tab"))
        await page.reload()
        await expect(page.locator("html")).to_have_attribute("lang", "zh")
        await expect(page.get_by_role("tab").first).to_have_text(CHINESE.translate("chat.tab"))
        await expect(page.locator("select.language")).to_have_value("zh")
        await choose(page, "en")
        await expect(page.get_by_role("tab").first).to_have_text("Chat")
