"""What the tests of the training share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

import pytest

from components.train import loop
from components.train.saving import uploads
from tests.fixtures.gate import Gate, gate

Interrupted = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def interrupted_after() -> Interrupted:
    """Has trainings inside the block be asked to stop, as by SIGTERM, once they have had so many batches."""

    @contextmanager
    def interrupted(batches: int) -> Iterator[None]:
        trained = 0
        train_batch = loop.TrainingRun.train_batch

        def counting(*arguments: object) -> object:
            nonlocal trained
            trained += 1
            return train_batch(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop.TrainingRun, "train_batch", counting)
            asked = property(lambda self: trained >= batches, lambda self, _: None)
            patch.setattr(loop.Interruption, "requested", asked)
            yield

    return interrupted


@pytest.fixture
def wall(s3_endpoint: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A gate in front of the object store, on the way that this process takes; what waits for it asks again soon."""
    monkeypatch.setattr(uploads, "RETRY_S", 0.1)
    monkeypatch.setattr(uploads, "SAY_S", 0.3)
    address = urlsplit(s3_endpoint)
    with gate(address.hostname or "", address.port or 0) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.port}")
        yield store
