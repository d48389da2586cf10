"""The eigenvalue archive, the 512-bit matrices and the funding rates: round trips, caps, and everything that is refused."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from dolphin.errors import DataError, MalformedFile, MissingDependency, QualityError, SchemaError
from dolphin.storage import arb512
from dolphin.storage.arb512 import BallMatrix, from_flint, matrix_path, read_matrix, to_flint, write_matrix
from dolphin.storage.archive import INDICATORS, SCAN_GLOBAL, ScanDay, read_members, read_scans, scan_path, write_scans
from dolphin.storage.funding import read_funding
from dolphin.storage.schema import day_start

DATE = "2021-04-02"

type Put = Callable[..., Path]


class Trap:
    """Unpickling it would be noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was run",))


def scans(rows: int = 5, first: int = 0, indicators: bool = True) -> ScanDay:
    rng = np.random.default_rng(rows)
    values = rng.standard_normal((rows, len(SCAN_GLOBAL)))
    values[0, 4] = np.nan
    beside = rng.standard_normal((rows, len(INDICATORS)))
    beside[:, 1] = np.nan
    times = day_start(DATE) + 60_000 * np.arange(1, rows + 1)
    return ScanDay(DATE, np.arange(first, first + rows), times, values, beside if indicators else None)


# ------------------------------------------------------------------------------------------------- eigenvalue archive


@pytest.mark.parametrize("indicators", [True, False])
def test_a_day_of_scans_comes_back_bit_for_bit(tmp_path: Path, indicators: bool) -> None:
    day = scans(indicators=indicators)
    folder = write_scans(tmp_path, day)
    assert folder == tmp_path / "eigenvalues" / DATE
    assert [p.name for p in folder.parent.iterdir()] == [DATE], "no temporary folder is left"
    back = read_scans(tmp_path, DATE)
    for name in ("number", "ts_ms", "scan", "indicators"):
        np.testing.assert_array_equal(getattr(back, name), getattr(day, name))


def test_the_files_are_plain_npz_with_the_specified_members(tmp_path: Path) -> None:
    write_scans(tmp_path, scans())
    with np.load(scan_path(tmp_path, DATE, 3), allow_pickle=False) as held:
        names = [f"lambda{v}_w{w}" for v in ("", "_vel") for w in (50, 150, 300, 750)] + ["instability_50", "instability_150", "ts_ms"]
        assert sorted(held.files) == sorted(names)
        assert {held[n].dtype.str for n in names[:-1]} == {"<f8"}
        assert held["ts_ms"].dtype == np.int64
        assert held["ts_ms"].shape == ()
    assert scan_path(tmp_path, DATE, 3).name == "scan_000003__scan_global.npz"


def test_later_scans_join_a_day_and_replace_their_own(tmp_path: Path) -> None:
    write_scans(tmp_path, scans(5))
    later = scans(4, first=3)
    write_scans(tmp_path, later)
    back = read_scans(tmp_path, DATE)
    assert back.number.tolist() == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(back.scan[3:], later.scan)
    np.testing.assert_array_equal(back.scan[:3], scans(5).scan[:3])


def test_an_interrupted_day_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt("stopped")

    monkeypatch.setattr("dolphin.storage.archive.sync_folder", stop)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        write_scans(tmp_path, scans())
    assert list((tmp_path / "eigenvalues").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": np.array([0, 2, 1, 3, 4])}, "must ascend"),
        ({"number": np.arange(999_997, 1_000_002)}, "must ascend within 0..999999"),
        ({"scan": np.zeros((5, 9))}, "are not 5 rows of 10 values"),
        ({"indicators": np.zeros((4, 4))}, "are not 5 rows of 4 values"),
        ({"date": "2021-04-31"}, "is not a date"),
    ],
)
def test_a_day_that_does_not_fit_together_is_not_written(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    day = scans()
    fields = {name: getattr(day, name) for name in ("date", "number", "ts_ms", "scan", "indicators")} | change
    with pytest.raises(DataError, match=message):
        write_scans(tmp_path, ScanDay(**fields))
    assert list(tmp_path.iterdir()) == []


def _members(**changes: Any) -> dict[str, Any]:
    return {**{name: np.float64(1) for name in SCAN_GLOBAL}, "ts_ms": np.int64(1)} | changes


def _npz(path: Path, members: dict[str, Any]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.asanyarray(value), allow_pickle=True)
            archive.writestr(f"{name}.npy", value if isinstance(value, bytes) else stream.getvalue())


BAD_MEMBERS = {
    "object array": ({"lambda_w50": np.array([Trap()], dtype=object)}, MalformedFile, "member|column lambda_w50: is no plain number"),
    "object scalar": ({"instability_50": np.array(Trap(), dtype=object)}, MalformedFile, "column instability_50: is no plain number"),
    "wrong dtype": ({"lambda_w50": np.float32(1)}, SchemaError, r"column lambda_w50: is float32\[\] but must be a scalar float64"),
    "big endian": ({"lambda_w50": np.array(1.0, dtype=">f8")}, SchemaError, "column lambda_w50: is >f8"),
    "wrong shape": ({"lambda_w150": np.zeros(1)}, SchemaError, r"column lambda_w150: is float64\[1\]"),
    "float time": ({"ts_ms": np.float64(1)}, SchemaError, "column ts_ms: is float64"),
    "not an array": ({"lambda_w300": b"hello"}, MalformedFile, "column lambda_w300: is no plain number"),
    "extra member": ({"more": np.float64(1)}, SchemaError, "column more.npy: is no member of this archive"),
}


@pytest.mark.parametrize("name", BAD_MEMBERS)
def test_a_bad_member_is_refused_by_name(tmp_path: Path, name: str) -> None:
    changes, error, message = BAD_MEMBERS[name]
    path = tmp_path / "scan_000001__scan_global.npz"
    _npz(path, _members(**changes))
    with pytest.raises(error, match=message) as caught:
        read_members(path)
    assert str(path) in str(caught.value)


def test_a_missing_or_repeated_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan_000001__scan_global.npz"
    members = _members()
    del members["ts_ms"]
    _npz(path, members)
    with pytest.raises(SchemaError, match="column ts_ms: the member must be there once"):
        read_members(path)
    _npz(path, _members())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("ts_ms.npy", b"")
    with pytest.raises(SchemaError, match="column ts_ms: the member must be there once"):
        read_members(path)


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan_000001__scan_global.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (*SCAN_GLOBAL, "ts_ms"):
            archive.writestr(f"{name}.npy", bytes(1 << 20))
    assert path.stat().st_size < 64 << 10
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("a member was unpacked"))
    with pytest.raises(MalformedFile, match="declares more than 65536 bytes"):
        read_members(path)


def test_oversized_absent_and_misnamed_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan_000001__scan_global.npz"
    with pytest.raises(MalformedFile, match="is no readable npz"):
        read_members(path)
    path.write_bytes(bytes(70_000))
    with pytest.raises(MalformedFile, match="is larger than 65536 bytes"):
        read_members(path)
    with pytest.raises(SchemaError, match="the name is not scan_NNNNNN"):
        read_members(tmp_path / "scan_1__scan_global.npz")
    with pytest.raises(SchemaError, match="no scans of this day"):
        read_scans(tmp_path, DATE)


# --------------------------------------------------------------------------------------------------- 512-bit matrices


def test_balls_make_the_round_trip_exactly(tmp_path: Path) -> None:
    flint = pytest.importorskip("flint", reason="python-flint is absent; pip install 'dolphin-nautilus[audit]'")
    symbols = ("ADAUSDT", "BTCUSDT", "ETHUSDT")
    before = flint.ctx.prec
    try:
        flint.ctx.prec = 512
        entries = [flint.arb(-i) / 7 + flint.arb(2).sqrt() * 2 ** (i * 40 - 200) for i in range(9)]
        matrix = flint.arb_mat(3, 3, entries)
        path = matrix_path(tmp_path, DATE, 12, day_start(DATE) + 3_723_000)
        write_matrix(path, from_flint(symbols, matrix))
        flint.ctx.prec = 53
        held = read_matrix(path)
        back = to_flint(held)
        for i in range(9):
            ball = back[i // 3, i % 3]
            assert ball.mid().man_exp() == entries[i].mid().man_exp()
            assert ball.rad().man_exp() == entries[i].rad().man_exp()
        assert (held.symbols, held.precision) == (symbols, 512)
        with pytest.raises(SchemaError, match="not finite"):
            from_flint(("ADAUSDT",), flint.arb_mat(1, 1, [flint.arb("nan")]))
        with pytest.raises(SchemaError, match="3 x 3 for 1 symbols"):
            from_flint(("ADAUSDT",), matrix)
    finally:
        flint.ctx.prec = before
    assert path == tmp_path / "matrices" / DATE / "scan_000012_w50_010203.arb512.zst"


def test_the_file_is_read_without_flint_and_computing_without_it_is_a_missing_dependency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = BallMatrix(("ADAUSDT",), 512, ((-(3**400), -700),), ((5, -600),))
    write_matrix(tmp_path / "m.arb512.zst", matrix)
    monkeypatch.setitem(__import__("sys").modules, "flint", None)
    assert read_matrix(tmp_path / "m.arb512.zst") == matrix
    with pytest.raises(MissingDependency, match="python-flint is not installed"):
        to_flint(matrix)


@pytest.mark.parametrize("name", ["scan_000001_w50_000100.arb512.pkl.zst", "x.pkl", "scan_000001_w50_000100.arb512.zst"])
def test_a_pickle_is_refused_with_an_explanation_and_never_run(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(zstandard.ZstdCompressor().compress(pickle.dumps(Trap())))
    with pytest.raises(MalformedFile, match="is a legacy pickle, and a pickle runs code when it is read"):
        read_matrix(path)


def _frame(raw: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(raw)


def test_zstd_bombs_and_frames_without_a_size_are_refused_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.arb512.zst"
    path.write_bytes(_frame(bytes(5 << 20)))
    monkeypatch.setattr(arb512, "_MAX_BYTES", 4 << 20)
    with pytest.raises(MalformedFile, match="declares 5242880 bytes after unpacking, the cap is"):
        read_matrix(path)
    path.write_bytes(_frame(b"x" * 100, write_content_size=False))
    with pytest.raises(MalformedFile, match="declares no size"):
        read_matrix(path)
    path.write_bytes(b"not zstd")
    with pytest.raises(MalformedFile, match="is no readable zstd file"):
        read_matrix(path)
    path.write_bytes(_frame(b"\x93123"))
    with pytest.raises(MalformedFile, match="is no audit matrix"):
        read_matrix(path)
    with pytest.raises(MalformedFile, match="is no readable zstd file"):
        read_matrix(tmp_path / "absent.arb512.zst")


@pytest.mark.parametrize(
    "matrix",
    [
        BallMatrix(("AAUSDT",), 512, (), ((1, 0),)),
        BallMatrix(("AAUSDT", "BBUSDT"), 512, ((1, 0),), ((1, 0),)),
        BallMatrix((), 512, (), ()),
        BallMatrix(("AAUSDT",), 7, ((1, 0),), ((1, 0),)),
    ],
)
def test_a_matrix_that_does_not_fit_together_is_not_written(tmp_path: Path, matrix: BallMatrix) -> None:
    with pytest.raises(SchemaError, match="are no matrix of"):
        write_matrix(tmp_path / "m.arb512.zst", matrix)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- funding


def _funding() -> dict[str, Any]:
    ts = day_start(DATE) + 28_800_000 * np.array([0, 1, 2, 0, 2])
    symbol = np.array(["BTCUSDT", "BTCUSDT", "BTCUSDT", "ETHUSDT", "ETHUSDT"], dtype=object)
    return {"ts": ts, "symbol": symbol, "funding_rate": np.array([1e-4, -2e-4, 0.0, 3e-4, 0.0375])}


def test_funding_is_a_block_over_the_asked_symbols(tmp_path: Path, put_parquet: Put) -> None:
    ts, rates = read_funding(put_parquet(tmp_path / "f.parquet", _funding()), ["ETHUSDT", "XRPUSDT", "BTCUSDT"])
    assert ts.tolist() == [day_start(DATE) + 28_800_000 * i for i in range(3)]
    np.testing.assert_array_equal(rates, [[3e-4, np.nan, 1e-4], [np.nan, np.nan, -2e-4], [0.0375, np.nan, 0.0]])


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("funding_rate", 3, 0.051, "row 3: 0.051 is no funding rate .a fraction is wanted: divide percent by 100"),
        ("funding_rate", 1, np.nan, "column funding_rate, row 1: nan is no funding rate"),
        ("funding_rate", 1, -np.inf, "column funding_rate, row 1: -inf is no funding rate"),
        ("ts", 1, day_start(DATE), "column ts, row 1: BTCUSDT has two rates for 2021-04-02"),
        ("ts", 4, day_start(DATE) // 1000, "column ts, row 4: .* is no time in ms"),
    ],
)
def test_bad_funding_is_refused(tmp_path: Path, put_parquet: Put, column: str, row: int, value: float, message: str) -> None:
    columns = _funding()
    columns[column][row] = value
    with pytest.raises(QualityError, match=message):
        read_funding(put_parquet(tmp_path / "f.parquet", columns), ["BTCUSDT", "ETHUSDT"])


def test_funding_without_its_columns_is_refused(tmp_path: Path, put_parquet: Put) -> None:
    columns = _funding()
    with pytest.raises(SchemaError, match="column funding_rate: the column is missing"):
        read_funding(put_parquet(tmp_path / "f.parquet", {k: columns[k] for k in ("ts", "symbol")}), [])
    with pytest.raises(SchemaError, match="asked for twice"):
        read_funding(put_parquet(tmp_path / "f.parquet", columns), ["BTCUSDT", "BTCUSDT"])


@pytest.mark.real_data
def test_real_funding_agrees_with_a_plain_reading(shared_data: Path) -> None:
    import pyarrow.parquet as pq

    path = shared_data / "funding" / "binance_perp_8h_funding.parquet"
    ts, rates = read_funding(path, ["BTCUSDT", "ETHUSDT"])
    held = pq.read_table(path).to_pydict()
    plain = {(t, s): r for t, s, r in zip(held["ts"], held["symbol"], held["funding_rate"], strict=True) if s in ("BTCUSDT", "ETHUSDT")}
    assert int(np.isfinite(rates).sum()) == len(plain)
    place = {t: i for i, t in enumerate(ts.tolist())}
    assert all(rates[place[t], ("BTCUSDT", "ETHUSDT").index(s)] == r for (t, s), r in plain.items())
