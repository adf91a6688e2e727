"""Table of presets: parameters that a user, or a browser, has saved by name."""

from typing import Any

from sqlalchemy import JSON, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from llava_serve.storage.tables import Table

LONGEST_NAME = 60  # characters


class PresetRow(Table):
    """`whose` is `user:` or `browser:` and whom the database knows by that; never NULL.

    So that a name is there once for each: two values of NULL are never the same.
    """

    __tablename__ = "presets"
    __table_args__ = (UniqueConstraint("whose", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    whose: Mapped[str] = mapped_column(String(270))
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    saved_at: Mapped[float]
