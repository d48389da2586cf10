"""Settings: frozen, complete, and refused with name, value and range."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolphin import load_profile
from dolphin.config import PROFILES, SECTIONS, EngineConfig, Settings, config_hash, load, settings_rows, to_toml
from dolphin.engine.records import params_record
from dolphin.errors import ConfigError
from dolphin.types import PARAMS

CHAMPION_HASH = "bfa75f321a6c7194"


def test_the_champion_is_frozen():
    """A changed default needs a new named profile: this hash never changes."""
    assert config_hash(load_profile("champion")) == CHAMPION_HASH
    assert config_hash(EngineConfig()) == CHAMPION_HASH
    with pytest.raises(AttributeError, match="immutable"):
        EngineConfig().seed = 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fixed_tp_pct": 0.0}, r"engine.fixed_tp_pct = 0.0: .*\[> 0, <= 1\]"),
        ({"fixed_tp_pct": math.nan}, "engine.fixed_tp_pct = nan"),
        ({"start_capital": math.inf}, "engine.start_capital = inf"),
        ({"max_hold_bars": 1.5}, "expected `int`"),
        ({"vd_enabled": 1}, "expected `bool`"),
        ({"irp_units": "log"}, "engine.irp_units = 'log'"),
        ({"fixed_tp": 0.01}, "did you mean engine.fixed_tp_pct"),
        ({"short_extreme": -0.01}, "must lie below engine.short_threshold"),
        ({"min_leverage": 6.0}, "must lie below engine.max_leverage"),
    ],
)
def test_a_wrong_value_is_refused_with_name_value_and_range(changes, words):
    """Fail closed, and say how to mend it."""
    with pytest.raises(ConfigError, match=words):
        load_profile("champion", **changes)


def test_an_unknown_profile_is_refused():
    """Known ones are named."""
    with pytest.raises(ConfigError, match="known: champion"):
        load_profile("winner")
    assert set(PROFILES) == {"champion"}


@settings(max_examples=60, deadline=None)
@given(tp=st.floats(1e-6, 1), hold=st.integers(1, 10_000), threads=st.integers(0, 256), units=st.sampled_from(["price", "return"]))
def test_settings_survive_the_way_through_toml(tp, hold, threads, units, tmp_path_factory):
    """load(to_toml(x)) == x."""
    flags = {"fixed_tp_pct": tp, "max_hold_bars": hold, "scanner.threads": threads, "irp_units": units}
    before = load(flags=flags).settings
    path = tmp_path_factory.mktemp("config") / "dolphin.toml"
    path.write_text(to_toml(before))
    assert load(path).settings == before


def test_every_setting_has_a_description_with_its_range():
    """config show and the written file explain each line."""
    rows = list(settings_rows(Settings()))
    assert len(rows) == 1 + sum(len(kind.__struct_fields__) for kind in SECTIONS.values())
    assert all(len(note) > 3 for _, _, note in rows)


def test_every_engine_setting_reaches_the_kernels():
    """A field that the kernels do not read would be a setting without effect."""
    unread = set(EngineConfig.__struct_fields__) - set(PARAMS.names) - {"start_capital", "seed", "irp_units"}
    assert not unread
    assert params_record(load_profile(irp_units="return"))["irp_returns"] == 1
    values = msgspec.structs.asdict(load_profile(max_hold_bars=77))
    record = params_record(load_profile(max_hold_bars=77))[0]
    assert all(record[name] == values[name] for name in PARAMS.names if name != "irp_returns")


@pytest.mark.parametrize("text", ["[engine\n", "engine = 3\n", "[engines]\nseed = 1\n", "[engine]\nseed = 'a'\n", "\xff\xfe"])
def test_a_bad_file_is_refused(tmp_path, text):
    """Broken TOML, wrong types, unknown sections, other encodings."""
    path = tmp_path / "dolphin.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"dolphin.toml|engine"):
        load(path)
