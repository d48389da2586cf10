"""The kill switch as a file: latched, durable, and engaged whenever it cannot be told."""

from __future__ import annotations

import pytest

from dolphin.errors import ConfigError, Unavailable
from dolphin.storage.kill_switch import KillOrder, KillSwitch

ORDER = KillOrder(reason="drill", by="me", ts_ms=5)


def test_the_first_order_stays_until_it_is_released_with_a_reason(tmp_path):
    switch = KillSwitch(tmp_path / "KILL")
    assert switch.engaged() is False
    assert switch.engage(ORDER) == ORDER
    assert switch.engage(KillOrder(reason="second", by="you", ts_ms=6)) == ORDER
    assert KillSwitch(tmp_path / "KILL").engaged() is True
    assert switch.release("all clear") == ORDER
    assert (switch.engaged(), switch.released()) == (False, ORDER)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["KILL.released"]


@pytest.mark.parametrize("reason", ["", " \t\n"])
def test_neither_order_nor_release_without_a_reason(tmp_path, reason):
    switch = KillSwitch(tmp_path / "KILL")
    with pytest.raises(ConfigError, match="--reason '': say why"):
        switch.engage(KillOrder(reason=reason, by="me", ts_ms=5))
    switch.engage(ORDER)
    with pytest.raises(ConfigError, match="--reason '': say why"):
        switch.release(reason)
    assert switch.engaged() is True


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"{}", b"[" * 10_000, b'{"reason": 1}', b"x" * 200_000])
def test_whatever_is_in_the_file_it_is_engaged(tmp_path, content):
    switch = KillSwitch(tmp_path / "KILL")
    switch.path.write_bytes(content)
    assert (switch.engaged(), switch.order().reason) == (True, "no reason can be read")
    assert switch.release("it was noise").by == "unknown"
    assert switch.engaged() is False


def test_a_folder_or_a_dangling_link_of_that_name_counts_too(tmp_path):
    folder, link = KillSwitch(tmp_path / "A"), KillSwitch(tmp_path / "B")
    folder.path.mkdir()
    link.path.symlink_to(tmp_path / "nowhere")
    assert (folder.engaged(), link.engaged()) == (True, True)


def test_a_state_folder_that_is_not_there_cannot_be_told(tmp_path):
    assert KillSwitch(tmp_path / "gone" / "KILL").engaged() is None


def test_a_disk_that_refuses_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="the kill switch cannot be written"):
        KillSwitch(tmp_path / "file" / "KILL").engage(ORDER)


def test_a_release_of_what_is_not_engaged_keeps_what_was_released(tmp_path):
    switch = KillSwitch(tmp_path / "KILL")
    assert switch.release("habit").by == "nobody"
    switch.engage(ORDER)
    switch.release("fine")
    assert switch.release("again") == ORDER
    assert switch.released() == ORDER
