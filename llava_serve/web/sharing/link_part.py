"""Link part: what an entry of the list says of the link to its conversation, as HTML."""

from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import translate

PATH = "shared/"


def link_part(token: str | None) -> str:
    """Render how to make a link, or where it leads and how to withdraw it."""
    if token is None:
        return (
            f'<details class="link"><summary>{translate("share.offer")}</summary>'
            f"<p>{translate('share.offered')}</p>"
            f'<button type="button" data-link="POST">{translate("share.make")}</button></details>'
        )
    path = plain_text(PATH + token)
    return (
        f'<details class="link"><summary>{translate("share.shared")}</summary>'
        f'<input readonly value="{path}" data-path="{path}" '
        f'aria-label="{translate("share.link")}">'
        f'<button type="button" data-link="copy">{translate("share.copy")}</button>'
        f'<button type="button" data-link="DELETE">{translate("share.withdraw")}</button>'
        "</details>"
    )
