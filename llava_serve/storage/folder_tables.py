"""Tables of folders: images that several models are asked one question about, and the answers."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from llava_serve.storage.media import StoredFile
from llava_serve.storage.tables import Table


class FolderRow(Table):
    """Whose it is stands in `owner` and `browser`, as of a conversation."""

    __tablename__ = "folders"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(255), index=True)
    browser: Mapped[str | None] = mapped_column(String(64), index=True)
    question: Mapped[str] = mapped_column(Text)
    models: Mapped[list[str]] = mapped_column(JSON)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[float]
    images: Mapped[list["FolderImageRow"]] = relationship(order_by="FolderImageRow.position")
    answers: Mapped[list["FolderAnswerRow"]] = relationship()


class FolderImageRow(Table):
    """An image of a folder, in the place that it has there."""

    __tablename__ = "folder_images"

    folder_id: Mapped[str] = mapped_column(ForeignKey("folders.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    extension: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(255))
    size_bytes: Mapped[int]

    @classmethod
    def of(cls, folder_id: str, position: int, file: StoredFile) -> "FolderImageRow":
        """Return the row of a file in its place."""
        return cls(
            folder_id=folder_id,
            position=position,
            sha256=file.sha256,
            extension=file.filetype.extension,
            name=file.name[:255],
            size_bytes=file.size_bytes,
        )


class FolderAnswerRow(Table):
    """What the model in `slot` said of the image in `position`; `details` as of a turn."""

    __tablename__ = "folder_answers"

    folder_id: Mapped[str] = mapped_column(ForeignKey("folders.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
