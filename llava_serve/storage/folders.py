"""Folders in the database: made, filled with images and answers, listed, read and deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import selectinload

from llava_serve.storage.folder_tables import FolderAnswerRow, FolderImageRow, FolderRow
from llava_serve.storage.identity import Identity
from llava_serve.storage.media import StoredFile
from llava_serve.storage.store import Store, delete_folders

_READ = 1000  # characters of a question in the list


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A folder in the list; `created_at` is in seconds since the epoch."""

    id: str
    question: str
    images: int
    created_at: float


@dataclass(frozen=True, slots=True)
class FolderContents:
    """How many images there are, how large they are together, and whether any answer is there."""

    images: int
    size_bytes: int
    has_answers: bool


class Folders:
    """Every method blocks: call it off the event loop. Every one may raise StorageFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        folder_id: str,
        whose: Identity,
        question: str,
        models: Sequence[str],
        parameters: dict[str, Any],
    ) -> None:
        """Make one without images."""
        row = FolderRow(id=folder_id, owner=whose.owner, browser=whose.browser, question=question)
        row.models, row.parameters, row.created_at = [*models], parameters, self._store.now()
        with self._store.transaction() as session:
            session.add(row)

    def put_image(self, folder_id: str, position: int, file: StoredFile) -> str | None:
        """Put an image into its place; the places need not follow upon each other.

        Return the name of another file that was there.
        """
        with self._store.transaction() as session:
            there = session.get(FolderImageRow, (folder_id, position))
            replaced = None if there is None else f"{there.sha256}.{there.extension}"
            session.merge(FolderImageRow.of(folder_id, position, file))
        return None if replaced == file.filename else replaced

    def put_answer(
        self, folder_id: str, place: tuple[int, int], text: str, details: dict[str, Any]
    ) -> None:
        """Write down what was said of which image, by (number, slot), in place of what was there.

        The number is that of the image among those that there are.
        """
        row = FolderAnswerRow(folder_id=folder_id, position=place[0], slot=place[1])
        row.text, row.details = text, details
        with self._store.transaction() as session:
            session.merge(row)

    def folder(self, whose: Identity, folder_id: str) -> FolderRow | None:
        """Return one of theirs with images and answers; None where it is none of theirs."""
        whole = (selectinload(FolderRow.images), selectinload(FolderRow.answers))
        with self._store.transaction() as session:
            wanted = select(FolderRow).where(_is(whose, folder_id)).options(*whole)
            row = session.scalars(wanted).one_or_none()
            session.expunge_all()
        return row

    def contents(self, whose: Identity, folder_id: str, but: int) -> FolderContents | None:
        """Return what one of theirs has, without the image in the place `but`.

        None says that it is none of theirs.
        """
        others = and_(FolderImageRow.folder_id == FolderRow.id, FolderImageRow.position != but)
        size_bytes = func.coalesce(func.sum(FolderImageRow.size_bytes), 0)
        has_answers = exists().where(FolderAnswerRow.folder_id == FolderRow.id)
        wanted = (
            select(func.count(FolderImageRow.position), size_bytes, has_answers)
            .select_from(FolderRow)
            .outerjoin(FolderImageRow, others)
            .where(_is(whose, folder_id))
            .group_by(FolderRow.id)
        )
        with self._store.transaction() as session:
            row = session.execute(wanted).one_or_none()
        return None if row is None else FolderContents(row[0], int(row[1]), bool(row[2]))

    def entries(self, whose: Identity, count: int = 50) -> tuple[list[FolderEntry], bool]:
        """Return the newest of theirs, and whether there are more."""
        images = (
            select(func.count())
            .where(FolderImageRow.folder_id == FolderRow.id)
            .scalar_subquery()
            .label("images")
        )
        question = func.substr(FolderRow.question, 1, _READ)
        wanted = (
            select(FolderRow.id, question, images, FolderRow.created_at)
            .where(whose.owns(FolderRow))
            .order_by(FolderRow.created_at.desc(), FolderRow.id)
            .limit(count + 1)
        )
        with self._store.transaction() as session:
            found = [FolderEntry(*row) for row in session.execute(wanted)]
        return found[:count], len(found) > count

    def delete(self, whose: Identity, folder_id: str) -> list[str] | None:
        """Delete one of theirs; return the stored files that nobody has any more.

        None says that it is none of theirs.
        """
        with self._store.transaction() as session:
            count, filenames = delete_folders(session, [_is(whose, folder_id)])
        return filenames if count else None


def _is(whose: Identity, folder_id: str) -> ColumnElement[bool]:
    return and_(whose.owns(FolderRow), FolderRow.id == folder_id)
