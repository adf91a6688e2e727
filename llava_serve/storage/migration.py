"""Databases of older versions: the columns and indexes they lack are added, and nothing else."""

from sqlalchemy import Connection, inspect

from llava_serve.storage.tables import Table


def add_what_is_missing(connection: Connection) -> None:
    """Add every column and index that a table has here and not yet in the database.

    So a column that is added to `tables` must allow NULL: the rows that are there have no value.
    """
    there = inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    for table in Table.metadata.sorted_tables:
        known = {column["name"] for column in there.get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(
                    f"ALTER TABLE {quote(table.name)} ADD COLUMN {quote(column.name)} {kind}"
                )
        for index in table.indexes:
            index.create(connection, checkfirst=True)
