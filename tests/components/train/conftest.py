"""What the tests of the training share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from components.train import loop

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
