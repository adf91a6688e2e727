"""Identity: whose conversations are meant, as the database knows them."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, false

from llava_serve.storage.folder_tables import FolderRow
from llava_serve.storage.tables import ConversationRow


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, or where nobody signs in a browser; without either nothing is anybody's."""

    owner: str | None = None
    browser: str | None = None

    @property
    def key(self) -> str | None:
        """What stands for them in one column; None is nobody, whom no row belongs to."""
        if self.owner is not None:
            return f"user:{self.owner}"
        return None if self.browser is None else f"browser:{self.browser}"

    @property
    def has(self) -> ColumnElement[bool]:
        """The condition under which a conversation is theirs."""
        return self.owns(ConversationRow)

    def owns(self, row: type[ConversationRow] | type[FolderRow]) -> ColumnElement[bool]:
        """Return the condition under which a row is theirs."""
        if self.owner is not None:
            return row.owner == self.owner
        if self.browser is None:
            return false()
        return row.owner.is_(None) & (row.browser == self.browser)


NOBODY = Identity()
