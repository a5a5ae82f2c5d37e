"""Words where numbers mean little."""

from speech.little_data import caution, transfer_advice


def test_transfer_is_proposed_with_its_command_where_there_is_little() -> None:
    assert transfer_advice(20, "command") == ""
    assert transfer_advice(0.5, "--the command").startswith("30 min of training clips is little")
    assert transfer_advice(0.5, "--the command").endswith(": --the command")


def test_what_a_rate_does_not_say() -> None:
    assert caution(1000, (0.20, 0.22)) == ""
    assert "cannot be told apart on these 100 clips" in caution(100, (0.2, 0.4))
    assert "less than 10 points" in caution(100, (0.2, 0.4))
    assert caution(6, (0.1, 0.9)).startswith("6 test clips are too few")
    assert "between 10% and 90%" in caution(6, (0.1, 0.9))
    assert caution(1, None).startswith("One test clip")
    assert "2" in caution(2, None)
    assert caution(100, None) == caution(0, None) == ""
