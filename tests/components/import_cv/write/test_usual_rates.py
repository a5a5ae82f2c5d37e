"""Which characters a second are usual."""

from components.import_cv.write.usual_rates import LEAST, UsualRates


def test_tails_are_unusual() -> None:
    usual = UsualRates(0.1)
    for rate in range(100):
        usual.add(float(rate))
    assert [usual.has(rate) for rate in (0.0, 9.0, 10.0, 50.0, 89.0, 90.0, 1000.0)] == [
        False, False, True, True, True, False, False,
    ]  # fmt: skip


def test_too_few_clips_say_nothing() -> None:
    usual = UsualRates(0.1)
    for _ in range(LEAST - 1):
        usual.add(10.0)
    assert usual.has(1000.0)
    usual.add(10.0)
    assert not usual.has(1000.0)
