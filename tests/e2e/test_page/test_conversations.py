"""The list of past conversations: found, opened, renamed, deleted, saved and brought back.

Each at the width of a desk, where it is a column, and of a phone, where it is a drawer.
"""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from llava_serve.login_config import LoginConfig
from llava_serve.logins.login_sessions import LoginSessions
from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack, page_served
from tests.e2e.test_page.past_list import ADDRESS, PastList, begun
from tests.e2e.test_page.test_accessibility import SMALL, check, check_themes, themes
from tests.e2e.test_page.test_login import auth_file as auth_file, sign_in

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]


async def test_one_is_found_renamed_and_deleted(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        past = PastList(tab, size)
        await begun(tab, stack.page, "the red circle")
        await begun(tab, stack.page, "a blue square")
        await past.open()
        await expect(past.entries.locator(".title")).to_have_text(
            ["a blue square", "the red circle"]
        )
        await expect(past.panel.get_by_role("heading", name="Today")).to_be_visible()
        await expect(past.entry("blue").locator("[aria-current=page]")).to_contain_text("Chat")
        await past.search.fill("CIRCLE the")
        await expect(past.entries.locator(".title")).to_have_text(["the red circle"])
        entry = await past.more("red")
        await entry.get_by_label("Title").fill("Round <b>things</b>")
        await entry.get_by_label("Title").press("Enter")
        await expect(past.entries.locator(".title")).to_have_text(["Round <b>things</b>"])
        entry = await past.more("Round")
        await entry.get_by_text("Delete …").click()
        await expect(entry).to_contain_text("gone for good")
        await tab.page.screenshot(path=tmp_path / f"delete-{size[0]}.png")
        await expect(past.entries).to_have_count(1)
        await entry.get_by_role("button", name="Yes, delete it").click()
        await expect(past.panel).to_contain_text("No conversation holds all of these words")
        await past.search.fill("")
        await expect(past.entries.locator(".title")).to_have_text(["a blue square"])
        await tab.page.reload()
        await past.open()
        await expect(past.entries.locator(".title")).to_have_text(["a blue square"])
        entry = await past.more("a blue square")
        await entry.get_by_text("Delete …").click()
        await entry.get_by_role("button", name="Yes, delete it").click()
        await expect(past.panel).to_contain_text("Nothing here yet")
        await expect(tab.transcript).to_contain_text("Ask about a picture")  # it was shown
        await expect(tab.page).not_to_have_url(ADDRESS)
        assert tab.foreign == []


async def test_one_is_opened_and_the_way_back_leads_to_the_other_with_its_draft(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        past = PastList(tab, size)
        first = await begun(tab, stack.page, "the first one")
        second = await begun(tab, stack.page, "the second one")
        await tab.textbox.fill("a draft of the second")
        await tab.page.wait_for_function("Object.values(localStorage).join().includes('a draft')")
        await past.open()
        await past.entry("first").get_by_role("link").click()
        await expect(tab.page).to_have_url(first)
        await expect(tab.answers.last).to_contain_text("the first one")
        await expect(tab.textbox).to_have_value("")
        await tab.page.go_back()
        await expect(tab.page).to_have_url(second)
        await expect(tab.answers.last).to_contain_text("the second one")
        await expect(tab.textbox).to_have_value("a draft of the second")


async def test_a_comparison_is_in_the_list_and_opens_on_its_tab(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    await stack.join("other")
    async with opened(browser, stack.page, size) as tab:
        past = PastList(tab, size)
        await begun(tab, stack.page, "a chat")
        await tab.page.goto(stack.page)
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask("a comparison")
        await tab.answered(2)
        await past.open()
        await expect(past.entry("a comparison").locator(".kind")).to_have_text("Compare")
        await past.entry("a chat").get_by_role("link").click()
        await expect(tab.page.locator("#chat-transcript")).to_contain_text("a chat")
        await past.open()
        await tab.page.screenshot(path=tmp_path / f"kinds-{size[0]}.png")
        await past.entry("a comparison").get_by_role("link").click()
        await tab.answered(2)
        await expect(tab.textbox).to_be_visible()
        await tab.page.get_by_role("tab", name="Leaderboard").click()
        await past.open()
        await past.entry("a comparison").get_by_role("link").click()  # whose address it still is
        await tab.answered(2)
        await expect(tab.textbox).to_be_visible()


async def test_the_one_that_is_seen_is_marked_and_no_other(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    """The address names one of each tab."""
    await stack.join("echo")
    await stack.join("other")
    async with opened(browser, stack.page, size) as tab:
        past = PastList(tab, size)
        await begun(tab, stack.page, "a chat")
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask("a comparison")
        await tab.answered(2)
        marked = past.entries.locator("[aria-current=page] .title")
        for name, title in (("Compare", "a comparison"), ("Chat", "a chat"), ("Leaderboard", None)):
            await tab.page.get_by_role("tab", name=name).click()
            await past.open()
            await expect(past.entries).to_have_count(2)
            await expect(marked).to_have_text([title] if title else [])
            if past.is_drawer:
                await tab.page.keyboard.press("Escape")


async def test_one_is_saved_and_brought_back(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        past = PastList(tab, size)
        await begun(tab, stack.page, "what <b>is</b> it?", shapes)
        await past.open()
        page = await past.download("what", "Save as a web page", tmp_path / "saved.html")
        data = await past.download("what", "Save as JSON", tmp_path / "saved.json")

        reader = (await tab.another()).page
        errors: list[str] = []
        requests: list[str] = []
        reader.on("pageerror", lambda error: errors.append(str(error)))
        reader.on("request", lambda request: requests.append(request.url))
        await reader.goto(page.as_uri())
        image = reader.locator("img")
        await expect(image).to_have_js_property("naturalWidth", 320)
        await expect(reader.locator(".question")).to_have_text("what <b>is</b> it?")
        await expect(reader.locator("article")).to_contain_text("[1 picture: 320x240]")
        assert await reader.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert {url.partition(":")[0] for url in requests} <= {"file", "data"} and errors == []
        await reader.screenshot(path=tmp_path / f"saved-{size[0]}.png")
        await reader.close()

        before = tab.page.url
        await past.panel.locator("[type=file]").set_input_files(shapes)
        told = past.panel.get_by_role("alert")
        await expect(told).to_contain_text("The file cannot be imported: it is no JSON")
        await expect(told).to_be_in_viewport()
        await tab.page.screenshot(path=tmp_path / f"refused-{size[0]}.png")
        await past.panel.locator("[type=file]").set_input_files(data)
        await expect(tab.page).not_to_have_url(before)
        await expect(tab.answers.last).to_contain_text("[1 picture: 320x240]")
        await expect(tab.transcript.locator("img")).to_have_js_property("naturalWidth", 320)
        await expect(tab.model).to_have_value("echo")
        await tab.ask("and more?")
        await tab.answered(2)
        await past.open()
        await expect(past.entries).to_have_count(2)


async def test_keys_alone_reach_all_of_it(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    engine = await stack.join("echo", delay_s=0.05)
    async with opened(browser, stack.page, size) as tab:
        past, keyboard = PastList(tab, size), tab.page.keyboard
        await begun(tab, stack.page, "by keys alone")
        await tab.ask(" ".join(f"word{n}" for n in range(2000)))
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        if past.is_drawer:
            await past.toggle.focus()
            await keyboard.press("Enter")
            await expect(past.panel.get_by_role("heading", name="Conversations")).to_be_focused()
            await keyboard.press("Escape")  # closes the drawer, and stops no answer
            await expect(past.panel).to_be_hidden()
            await expect(past.toggle).to_be_focused()
            await expect(past.toggle).to_have_attribute("aria-expanded", "false")
            await expect(tab.stop_button).to_be_visible()
            await keyboard.press("Enter")
        await past.search.focus()
        await expect(past.entry("by keys")).to_be_visible()
        await keyboard.press("Tab")
        await expect(past.entry("by keys").get_by_role("link")).to_be_focused()
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await keyboard.press("Tab")
        await expect(past.entry("by keys").get_by_label("Title")).to_be_focused()
        for name in ("Rename", "Save as JSON", "Save as a web page"):
            await keyboard.press("Tab")
            await expect(past.panel.get_by_role("button", name=name)).to_be_focused()
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await keyboard.press("Tab")
        await keyboard.press("Enter")  # on "Yes, delete it"
        told = past.panel.get_by_role("alert")
        await expect(told).to_contain_text("answer of this conversation is still being made")
        await expect(past.entries).to_have_count(1)
        if past.is_drawer:
            await keyboard.press("Escape")
        await tab.stop_button.click()  # or the page would wait for the answer at its end
        await engine.idle.wait()


async def test_axe_finds_nothing_in_the_list(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        past = PastList(tab, size)
        await begun(tab, stack.page, "a question " * 12)
        await past.open()
        await expect(past.entries.locator("[aria-current=page]")).to_be_visible()
        await check_themes(tab)
        entry = await past.more("a question")
        await entry.get_by_text("Delete …").click()
        async for theme in themes(tab):
            await check(tab)
            assert await tab.page.evaluate(SMALL) == []
            assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            await tab.page.screenshot(path=tmp_path / f"list-{theme}-{size[0]}.png")


async def test_the_list_is_as_it_was_left(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    """A column stays folded; a drawer is closed by a click beside it, and by each load."""
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        past = PastList(tab, size)
        await expect(tab.model).to_have_value("echo")
        await past.open()
        width = await tab.page.locator(".main").first.evaluate("main => main.clientWidth")
        if past.is_drawer:
            await tab.page.mouse.click(380, 500)
        else:
            await past.toggle.click()
        await expect(past.panel).to_be_hidden()
        if not past.is_drawer:
            wider = await tab.page.locator(".main").first.evaluate("main => main.clientWidth")
            assert wider > width
        await tab.page.reload()
        await expect(tab.model).to_have_value("echo")
        await expect(past.toggle).to_have_attribute("aria-expanded", "false")
        await expect(past.panel).to_be_hidden()


async def test_an_answer_that_was_made_without_its_tab_is_whole_when_it_is_opened(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    engine = await stack.join("echo", delay_s=0.02)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.ask(" ".join(f"word{n}" for n in range(100)))
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        await tab.page.close()
        await engine.idle.wait()
        again = await tab.another()
        await again.page.goto(stack.page)
        past = PastList(again, size)
        await past.open()
        await past.entry("word0").get_by_role("link").click()
        await expect(again.answers.last.locator(".text")).to_contain_text("word99")
        await again.answered()


async def test_a_user_finds_theirs_in_another_browser_and_nobody_elses(
    browser: Browser, stack: Stack, auth_file: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    logins = LoginSessions.of(LoginConfig(auth_file=auth_file), tmp_path)
    async with page_served(stack.controller, tmp_path, logins) as (address, _):
        async with opened(browser, address, size) as tab:
            await sign_in(tab.page, "alice")
            await expect(tab.model).to_have_value("echo")
            await tab.ask("alice's secret")
            await tab.answered()
        for name, count in (("alice", 1), ("bob", 0)):
            async with opened(browser, address, size) as tab:
                await sign_in(tab.page, name)
                await expect(tab.model).to_have_value("echo")
                past = PastList(tab, size)
                await past.open()
                hint = past.panel.get_by_text("Nothing here yet")
                await expect(hint).to_have_count(1 - count)
                await expect(past.entry("alice's secret")).to_have_count(count)


async def test_browsers_list_what_they_have_begun_themselves(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        link = await begun(tab, stack.page, "of the first browser")
    async with opened(browser, link, size) as tab:
        await expect(tab.answers).to_contain_text("of the first browser")  # who knows the address
        past = PastList(tab, size)
        await past.open()
        await expect(past.panel).to_contain_text("Nothing here yet")
