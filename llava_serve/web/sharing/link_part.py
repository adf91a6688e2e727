"""Link part: what an entry of the list says of the link to its conversation, as HTML."""

from llava_serve.web.render import plain_text

OFFER = "Share by a link …"
OFFERED = (
    "Everybody who has the link can read what is shown now without signing in, with its pictures "
    "and videos. The names of their files, and the place and time that a camera writes into them, "
    "are left out. What is asked later is not in it."
)
MAKE = "Make the link"
SHARED = "Shared by a link …"
LABEL = "Link to share"
COPY, WITHDRAW = "Copy the link", "Withdraw the link"
PATH = "shared/"


def link_part(token: str | None) -> str:
    """Render how to make a link, or where it leads and how to withdraw it."""
    if token is None:
        return (
            f'<details class="link"><summary>{OFFER}</summary><p>{OFFERED}</p>'
            f'<button type="button" data-link="POST">{MAKE}</button></details>'
        )
    path = plain_text(PATH + token)
    return (
        f'<details class="link"><summary>{SHARED}</summary>'
        f'<input readonly value="{path}" data-path="{path}" aria-label="{LABEL}">'
        f'<button type="button" data-link="copy">{COPY}</button>'
        f'<button type="button" data-link="DELETE">{WITHDRAW}</button></details>'
    )
