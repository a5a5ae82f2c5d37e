"""How clips are counted, and when too many are of no use."""

import pytest

from speech.clips.tally import MISSING, NO_LOSS, UNREADABLE, Allowance, Tally, describe
from speech.errors import InputError


@pytest.mark.parametrize(
    ("text", "listed", "allowed"),
    [
        ("10%", 96, 9),
        ("10%", 100, 10),
        ("0.1", 100, 10),
        (".5", 7, 3),
        ("1.0", 7, 7),
        ("100%", 7, 7),
        ("0", 100, 0),
        ("1", 100, 1),  # a clip, not everything
        ("20", 7, 20),
        ("0.07", 100, 7),  # 0.07 * 100 is a little less in floating point
        ("12.5%", 8, 1),
    ],
)
def test_numbers_and_shares(text: str, listed: int, allowed: int) -> None:
    assert Allowance(text).clips(listed) == allowed


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "ten", "10 %", "nan", "%"])
def test_what_is_no_number_and_no_share(text: str) -> None:
    with pytest.raises(InputError, match=r"--allow_skipped .* a number of clips, such as 20, or a share"):
        Allowance(text)


def test_a_clip_counts_once_for_its_first_reason() -> None:
    tally = Tally("x.csv", listed=100)
    for row in range(10):
        tally.add(MISSING, row, f"{row}.wav")
        tally.add(UNREADABLE, row, f"{row}.wav")
    tally.add(UNREADABLE, 50, "3.wav")  # another row of the same name is another clip
    assert (tally.skipped, tally.used) == (11, 89)
    assert tally.counts == {MISSING: 10, UNREADABLE: 1}
    assert str(tally).startswith("100 clips listed, 89 used, 11 left out: 10 missing file (0.wav, 1.wav, 2.wav, ...)")
    with pytest.raises(InputError, match=r"x\.csv: 11 of 100 clips \(11\.0%\) cannot be used: .* 10% allows 10: mend"):
        tally.check(Allowance())
    tally.check(Allowance("11"))
    assert describe([tally.to_dict(), tally.to_dict()]) == (
        "200 listed, 178 used, 22 left out (20 missing file, 2 unreadable audio)"
    )


def test_a_loss_without_an_end_is_no_fault_of_the_files() -> None:
    tally = Tally("x.csv", listed=4)
    for row in range(3):
        tally.add(NO_LOSS, row, f"{row}.wav")
    tally.check(Allowance("0"))
    assert tally.used == 1


def test_nothing_left_is_never_allowed() -> None:
    with pytest.raises(InputError, match=r"x\.csv: no usable clip \(it has no rows\)"):
        Tally("x.csv").check(Allowance("100%"))
    tally = Tally("x.csv", listed=1)
    tally.add(MISSING, 0, "a.wav")
    with pytest.raises(InputError, match=r"no usable clip \(1 missing file \(a\.wav\)\)"):
        tally.check(Allowance("100%"))
