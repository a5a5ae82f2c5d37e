"""A remote file as a stream that goes on where the connection broke."""

import io
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from speech.errors import InputError, RetryError
from speech.storage.retries import attempts

ATTEMPTS = 6  # in a row without a byte
RETRY_DELAY_S = 0.5  # doubled after each attempt


class Transient(Exception):
    """A refusal of the server's that another attempt may cure."""


class ResumedStream(io.RawIOBase):
    """Reads `shown` (its name in errors) from front to back, or from wherever `seek` leads."""

    def __init__(self, shown: str) -> None:
        super().__init__()
        self.shown = shown
        self.size = -1  # bytes; -1: the server does not say
        self.mark = ""  # changes with the content
        self._position = 0
        self._body: Any = None

    @abstractmethod
    def _open(self) -> Any:
        """A body to read from at `_position`; raises InputError for what no further attempt cures."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.size >= 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if position != self._position:
            self._leave()
            self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        data = self._patiently(lambda: self._read(len(buffer)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, count: int) -> bytes:
        if 0 <= self.size <= self._position:
            return b""
        if self._body is None:
            self._body = self._open()
        data: bytes = self._body.read(count)
        if not data and self.size >= 0:
            raise OSError("the connection ended early")
        return data

    def _patiently(self, work: Callable[[], bytes]) -> bytes:
        failure: Exception | None = None
        for _ in attempts(ATTEMPTS, RETRY_DELAY_S):
            try:
                return work()
            except (InputError, RetryError):
                raise
            except Exception as error:  # botocore, urllib3, http.client and sockets each have errors of their own
                self._leave()
                failure = error
        raise RetryError(f"{self.shown}: broke off at byte {self._position}: {failure}")

    def _leave(self) -> None:
        body, self._body = self._body, None
        if hasattr(body, "close"):
            body.close()

    def close(self) -> None:
        """Close the connection, too."""
        self._leave()
        super().close()
