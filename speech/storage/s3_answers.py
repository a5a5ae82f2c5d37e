"""Answers of an object store that cannot be read: a number or a time that is none makes a broken answer."""

from typing import Any

from botocore.parsers import ResponseParserError, ResponseParserFactory
from botocore.session import Session, get_session


class _CheckedFactory(ResponseParserFactory):  # type: ignore[misc]
    """Makes botocore's parsers, which read damaged XML carefully, and the values in it not."""

    def create_parser(self, protocol_name: str) -> Any:
        parser = super().create_parser(protocol_name)
        parse = parser.parse

        def checked(*arguments: Any, **more: Any) -> Any:
            try:
                return parse(*arguments, **more)
            except (ValueError, TypeError, LookupError, OverflowError) as error:
                raise ResponseParserError(f"an answer that cannot be read: {error}") from error

        parser.parse = checked
        return parser


def checked_session() -> Session:
    """A session of botocore whose clients raise ResponseParserError for every answer that they cannot read."""
    session = get_session()
    session.register_component("response_parser_factory", _CheckedFactory())
    return session
