"""Code of an answer is copied, wide blocks scroll within it, at the width of a desk and a phone."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack
from tests.e2e.test_page.past_list import DESK, PHONE
from tests.e2e.test_page.test_accessibility import SMALL, check

SIZES = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]

CODE = "def area(width, height):\n    return width * height  # " + "a long line " * 12
TABLE = "| one | two | three |\n|---|---|---|\n" + f"| {'wide' * 12} | {'wider' * 12} | 3 |"
ANSWER = f"""## An answer
It has **words** and [a link](http://example.invalid/).

- one
- two

```python
{CODE}
```

{TABLE}

It costs $5 and $10.
"""
# As over plain http, where browsers give pages no clipboard.
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"


async def test_an_answer_of_code_and_a_table(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, "about:blank", size) as tab:
        await tab.page.add_init_script(NO_CLIPBOARD)
        await tab.page.goto(stack.page)
        await expect(tab.model).to_have_value("echo")
        await tab.ask(ANSWER)
        await tab.answered()
        answer = tab.answers.last
        await expect(answer.locator("li")).to_have_text(["one", "two"])
        await expect(answer.locator("figcaption span")).to_have_text("python")
        link = answer.get_by_role("link", name="a link")
        await expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
        await expect(answer).to_contain_text("It costs $5 and $10.")
        for block in ("figure.code pre", "figure.table"):
            scrolls = await answer.locator(block).evaluate(
                "one => one.scrollWidth > one.clientWidth"
            )
            assert scrolls or size == DESK
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await tab.page.evaluate(SMALL) == []
        await check(tab)
        for scheme in ("light", "dark"):
            await tab.page.emulate_media(color_scheme=scheme)
            await answer.locator("figure.code").scroll_into_view_if_needed()
            await tab.page.screenshot(path=tmp_path / f"answer-{size[0]}-{scheme}.png")
        copy = answer.get_by_role("button", name="Copy the code")
        await copy.click()
        await expect(copy).to_have_text("Copied")
        await tab.textbox.focus()
        await tab.page.keyboard.press("Control+V")
        await expect(tab.textbox).to_have_value(f"{CODE}\n")
