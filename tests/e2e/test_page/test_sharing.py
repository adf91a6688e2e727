"""A link to share is made, copied, opened by a stranger and withdrawn.

Each at the width of a desk and of a phone.
"""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack, page_served
from tests.e2e.test_page.past_list import PastList, begun
from tests.e2e.test_page.test_accessibility import SMALL, check

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]

# As over plain http, where browsers give pages no clipboard.
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"


async def test_a_link_is_made_copied_opened_and_withdrawn(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    (folder := tmp_path / "shared").mkdir()
    (folder / "examples").mkdir()
    (folder / "examples" / "examples.json").write_text("[]")
    async with (
        page_served(stack.controller, folder, allow_sharing=True) as (url, _),
        opened(browser, url, size) as tab,
    ):
        await tab.page.add_init_script(NO_CLIPBOARD)
        past = PastList(tab, size)
        await begun(tab, url, "what is <b>it</b>?", shapes)
        await past.open()
        entry = await past.more("what is")
        await entry.get_by_text("Share by a link …").click()
        await expect(entry).to_contain_text("What is asked later is not in it")
        await tab.page.screenshot(path=tmp_path / f"offer-{size[0]}.png")
        await entry.get_by_role("button", name="Make the link").click()
        link = entry.get_by_label("Link to share")
        await expect(link).to_be_focused()
        address = await link.input_value()
        assert address.startswith(f"{url}/shared/")
        copy = entry.locator("[data-link=copy]")
        await copy.click()
        await expect(copy).to_have_text("Copied")
        await check(tab)
        assert await tab.page.evaluate(SMALL) == []
        await tab.page.screenshot(path=tmp_path / f"link-{size[0]}.png")
        await past.search.focus()
        await tab.page.keyboard.press("Control+V")
        await expect(past.search).to_have_value(address)

        async with opened(browser, address, size) as stranger:
            await expect(stranger.page.locator(".question")).to_have_text("what is <b>it</b>?")
            await expect(stranger.page.locator("img")).to_have_js_property("naturalWidth", 320)
            assert await stranger.page.evaluate(
                "document.documentElement.scrollWidth <= innerWidth"
            )
            await check(stranger)
            await stranger.page.screenshot(path=tmp_path / f"shared-{size[0]}.png")
            assert await stranger.page.context.cookies() == []

            await expect(past.entries).to_have_count(0)  # none holds the address
            await past.search.fill("")
            entry = await past.more("what is")
            await entry.get_by_text("Shared by a link …").click()
            await entry.get_by_role("button", name="Withdraw the link").click()
            await expect(entry.get_by_text("Share by a link …")).to_be_focused()
            await stranger.page.reload()
            await expect(stranger.page.get_by_role("heading")).to_have_text("Nothing here")
            await check(stranger)
