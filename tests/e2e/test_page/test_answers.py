"""Code of an answer is copied, wide blocks scroll within it, at the width of a desk and a phone."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import opened
from tests.e2e.test_page.conftest import DESK, GRADIO_AND_PANDAS, SIZES, Stack
from tests.e2e.test_page.test_accessibility import SMALL, check

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
FORMULAS = r"""The roots of $ax^2 + bx + c = 0$ are
\( x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a} \), at $5 and $10.

$$
\begin{aligned}
f(x) &= \begin{cases} x^2 & \text{if } x \ge 0 \\ -x & \text{otherwise} \end{cases} \\
\int_0^1 f(x)\,dx &= \frac{1}{3}
\end{aligned}
$$

\[ a + b + c + d + e + f + g + h + i + j + k + l + m + n + o = 1 \]

In a line $a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r$, and $\frac{a}{$.
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


async def test_formulas_of_an_answer(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        said: list[str] = []
        tab.page.on("pageerror", lambda error: said.append(error.message))
        await expect(tab.model).to_have_value("echo")
        await tab.ask(FORMULAS)
        await tab.answered()
        answer = tab.answers.last
        await expect(answer.locator("math")).to_have_count(5)
        await expect(answer).to_contain_text("at $5 and $10.")
        await expect(answer.locator("code.unread")).to_have_text(r"$\frac{a}{$")
        await expect(tab.transcript.locator(".turn.user math")).to_have_count(0)
        for formula in await answer.locator("math").all():
            box = await formula.bounding_box()
            assert box is not None
            assert box["width"] > 20 and box["height"] > 10
        ends = await answer.locator("mtd[columnalign=right]").evaluate_all(
            "all => all.map((one) => Math.round(one.lastChild.getBoundingClientRect().right))"
        )
        assert len(ends) == 2 and abs(ends[0] - ends[1]) <= 2
        scrolls = await answer.locator(".formula").evaluate_all(
            "all => all.map((one) => one.scrollWidth > one.clientWidth)"
        )
        assert scrolls == ([False, False, False] if size == DESK else [False, True, True])
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await check(tab)
        for scheme in ("light", "dark"):
            await tab.page.emulate_media(color_scheme=scheme)
            await answer.locator("math").first.scroll_into_view_if_needed()
            await tab.page.screenshot(path=tmp_path / f"formulas-{size[0]}-{scheme}.png")
        assert said == []
