"""The envelope of configurations that trials draw from. Source: specification of the forewarner."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from dolphin.config import EngineConfig
from dolphin.errors import ConfigError, MissingDependency
from dolphin.types import Array

__all__ = ["DRAWN_AT_ONCE", "ENVELOPE", "SPOKEN", "base_of", "config_at", "config_values", "sobol", "trial_values"]

ENVELOPE: Final[Mapping[str, tuple[float, float]]] = {
    "max_leverage": (1.0, 10.0),
    "max_fraction": (0.05, 0.40),
    "fixed_tp_pct": (0.003, 0.03),
    "max_hold_bars": (20, 360),
    "short_threshold": (-0.04, -0.01),
    "short_extreme": (-0.10, -0.03),
    "convexity": (1.0, 5.0),
    "min_irp_alignment": (0.2, 0.7),
}
"""Lowest and highest value of each engine setting that trials vary. All else is the base configuration."""

SPOKEN: Final = {
    "fraction": "max_fraction",
    "fixed_tp": "fixed_tp_pct",
    "max_hold": "max_hold_bars",
    "vel_div_threshold": "short_threshold",
    "vel_div_extreme": "short_extreme",
}
"""Names of the specification that differ from the engine's."""

DRAWN_AT_ONCE: Final = 64
"""Sobol points drawn together, a power of two (scipy warns otherwise)."""


def sobol(seed: int, first: int) -> Array:
    """Points ``first ... first + 63`` of the scrambled Sobol sequence, float64[64, 8] in [0, 1). ``first`` is a multiple of 64."""
    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise MissingDependency("scipy is not installed: pip install 'dolphin-nautilus[forewarner]'") from error
    sampler: Any = qmc.Sobol(len(ENVELOPE), scramble=True, rng=np.random.default_rng(seed))
    if first:
        sampler.fast_forward(first)
    return np.asarray(sampler.random(DRAWN_AT_ONCE), dtype=np.float64)


def trial_values(point: Array) -> dict[str, float]:
    """The settings at a point of the unit cube.

    Ranges of threshold and extreme overlap; where a point has the extreme above the threshold the two are swapped, which stays inside
    both ranges and leaves the draw uniform.
    """
    values = {name: low + float(u) * (high - low) for u, (name, (low, high)) in zip(point, ENVELOPE.items(), strict=True)}
    low, high = ENVELOPE["max_hold_bars"]
    values["max_hold_bars"] = float(low + int(float(point[list(ENVELOPE).index("max_hold_bars")]) * (high - low + 1)))
    if values["short_extreme"] >= values["short_threshold"]:
        values["short_extreme"], values["short_threshold"] = values["short_threshold"], values["short_extreme"]
    return values


def config_at(base: EngineConfig, values: Mapping[str, float], seed: int) -> EngineConfig:
    """``base`` with the trial's settings and its seed of the cost draws."""
    changes: dict[str, Any] = {**values, "max_hold_bars": int(values["max_hold_bars"]), "seed": seed}
    return msgspec.structs.replace(base, **changes)


def base_of(config: EngineConfig) -> EngineConfig:
    """What trials of ``config`` share: the varied settings and the seed at their champion values."""
    champion = EngineConfig()
    return msgspec.structs.replace(config, **{name: getattr(champion, name) for name in (*ENVELOPE, "seed")})


def config_values(cfg: Mapping[str, Any], base: EngineConfig) -> tuple[dict[str, float], list[str]]:
    """The varied settings of ``cfg`` (absent: of ``base``), and a line for each other setting that trials did not have so.

    Raises ``ConfigError`` for an unknown name or a varied setting that is no number.
    """
    values = {name: float(getattr(base, name)) for name in ENVELOPE}
    lines = []
    for spoken, value in cfg.items():
        name = SPOKEN.get(spoken, spoken)
        if name not in EngineConfig.__struct_fields__:
            near = difflib.get_close_matches(spoken, [*EngineConfig.__struct_fields__, *SPOKEN], n=1)
            raise ConfigError(f"{spoken} = {value!r}: no such engine setting" + (f"; did you mean {near[0]}?" if near else ""))
        if name in ENVELOPE:
            try:
                values[name] = float(value)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{spoken} = {value!r}: expected a number") from error
        elif name != "seed" and value != getattr(base, name):
            lines.append(f"{name} = {value!r}, the trials had {getattr(base, name)!r}")
    return values, lines
