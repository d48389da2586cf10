"""Publishing: the old file or the whole new one."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from dolphin.storage.publish import publish, sha256_file, stale_aside, temporary_name


def test_a_published_file_has_its_bytes_and_leaves_no_temporary(tmp_path: Path) -> None:
    with publish(tmp_path / "a.bin") as temporary:
        assert temporary.name == f".a.bin.{os.getpid()}.tmp"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"new")
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write() -> None:
        with publish(path) as temporary:
            temporary.write_bytes(b"ne")
            raise error("half way")

    with pytest.raises(error, match="half way"):
        write()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_several_files_in_one_stack_appear_together_or_not_at_all(tmp_path: Path) -> None:
    def write(upto: int) -> None:
        with ExitStack() as stack:
            for i in range(3):
                stack.enter_context(publish(tmp_path / f"{i}")).write_bytes(b"x")
                if i == upto:
                    raise KeyboardInterrupt("stopped")

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        write(upto=1)
    assert list(tmp_path.iterdir()) == []
    write(upto=9)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1", "2"]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileNotFoundError, match=r"\.a\."), publish(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_bytes() == b"old"


def test_the_hash_is_that_of_the_bytes_and_follows_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert sha256_file(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert sha256_file(path) == hashlib.sha256(b"three").hexdigest()


def test_a_stale_file_is_kept_aside_under_a_name_of_its_own_each_time(tmp_path: Path) -> None:
    path = tmp_path / "2021-04-02.parquet"
    path.write_bytes(b"first")
    assert stale_aside(path, "2026-11-21").name == "2021-04-02.parquet.STALE_2026-11-21"
    assert path.read_bytes() == b"first", "readers still find the old file until the rebuild replaces it"
    with publish(path) as temporary:
        temporary.write_bytes(b"second")
    second = stale_aside(path, "2026-11-21")
    assert second.name == "2021-04-02.parquet.STALE_2026-11-21.2"
    assert (tmp_path / "2021-04-02.parquet.STALE_2026-11-21").read_bytes() == b"first"
    assert second.read_bytes() == b"second"
    with pytest.raises(FileNotFoundError, match="absent"):
        stale_aside(tmp_path / "absent", "2026-11-21")


def test_a_file_system_without_links_renames_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("links are not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a"
    path.write_bytes(b"old")
    assert stale_aside(path, "2026-11-21").read_bytes() == b"old"
    assert not path.exists()


def test_temporary_names_are_hidden() -> None:
    assert temporary_name(Path("/x/a.parquet")).name.startswith(".")
