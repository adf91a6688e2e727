"""Identity: whose conversations are meant, as the database knows them."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, false

from llava_serve.storage.tables import ConversationRow


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, or where nobody signs in a browser; without either nothing is anybody's."""

    owner: str | None = None
    browser: str | None = None

    @property
    def has(self) -> ColumnElement[bool]:
        """The condition under which a conversation is theirs."""
        if self.owner is not None:
            return ConversationRow.owner == self.owner
        if self.browser is None:
            return false()
        return ConversationRow.owner.is_(None) & (ConversationRow.browser == self.browser)


NOBODY = Identity()
