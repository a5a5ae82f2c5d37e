"""The retry loop: attempts with growing pauses between them."""

import time
from collections.abc import Iterator


def attempts(count: int, delay_s: float, growth: float = 2.0) -> Iterator[int]:
    """Count attempts from 0; before each further one wait, `growth` times as long as before.

    The loop's body leaves it when it has succeeded, and raises what cannot be mended by another attempt. What stands
    behind the loop raises the last failure.
    """
    for number in range(count):
        if number:
            time.sleep(delay_s * growth ** (number - 1))
        yield number
