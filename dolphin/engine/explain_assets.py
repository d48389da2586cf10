"""The ranking of a bar, asset by asset: impulse response (IRP), score, and the first reason for which an asset was not chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dolphin.engine.explain_scene import Scene
from dolphin.kernels.irp import irp_profile_nb
from dolphin.kernels.loop import Work, choose_nb
from dolphin.kernels.selection import (
    ACTION,
    ALIGNMENT,
    ARS,
    BANNED,
    MAX_LATENCY,
    MAX_NOISE,
    MIN_ALIGNMENT,
    MIN_DEPTH_QUALITY,
    NOTES,
    book_ars_nb,
    score_assets_nb,
)
from dolphin.kernels.window import window_nb
from dolphin.types import IRP_WINDOW, Array, AssetVerdict

__all__ = ["Candidate", "Choice", "rank"]

PASSED = (AssetVerdict.CHOSEN, AssetVerdict.OUTRANKED)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One asset of a ranking; NaN = not computed. Price USDT; ``action`` -1 or +1, and every figure is that direction's.

    ``place`` counts from 1; 0 = dropped before the ranking (no score). ``depth_quality`` and ``ars_after_book`` as the book says.
    """

    asset: str
    verdict: str
    place: int
    price: float
    action: int
    mfe: float
    mae: float
    efficiency: float
    alignment: float
    noise: float
    latency: int
    ars: float
    depth_quality: float
    ars_after_book: float


@dataclass(frozen=True, slots=True)
class Choice:
    """``column`` of the chosen asset, -1 = none; candidates by score, then the dropped ones in column order; how many passed.

    ``limits``: largest noise and latency, least alignment (and, with a book, depth quality); empty where nothing was ranked.
    """

    column: int = -1
    candidates: tuple[Candidate, ...] = ()
    passed: int = 0
    limits: dict[str, float] = field(default_factory=dict)


def rank(scene: Scene, only: str) -> Choice:
    """The bar's ranking. ``only``: the asset that is traded when the configuration asks for no selection."""
    n, c = len(scene.assets), scene.config
    column_of = {name: j for j, name in enumerate(scene.assets)}
    one = -1 if c.use_asset_selection else column_of.get(only, -2)
    notes = np.zeros((len(NOTES), n))
    notes[BANNED] = [name in scene.banned for name in scene.assets]
    window, column = np.empty((IRP_WINDOW, n)), np.empty(IRP_WINDOW)
    work = Work(window, column, notes, np.empty(0), 0, one)
    chosen = choose_nb(scene.params, scene.state, scene.block, scene.tail, scene.book, work, 0)
    if one != -1:
        found = [_alone(scene, one, chosen)] if one >= 0 else []
        return Choice(chosen, tuple(found), int(chosen >= 0))
    prices = window_nb(scene.block, scene.tail, 0, np.empty((IRP_WINDOW, n)), np.empty(IRP_WINDOW))
    scores = np.zeros((len(NOTES), n))
    score_assets_nb(prices, scene.direction, c.irp_units == "return", -1.0, scores)
    every = [_candidate(scene, prices, scores, j, chosen) for j in range(n)]
    ranked = sorted((x for x in every if _has_place(x)), key=lambda x: -_score(x))
    places = {x.asset: k for k, x in enumerate(ranked, 1)}
    placed = [replace(x, place=places[x.asset]) for x in ranked]
    dropped = [x for x in every if x.asset not in places]
    limits = {"noise": MAX_NOISE, "latency": float(MAX_LATENCY), "alignment": _least_alignment(scene)}
    limits |= {"depth_quality": MIN_DEPTH_QUALITY} if scene.has_book else {}
    return Choice(chosen, (*placed, *dropped), sum(x.verdict in PASSED for x in every), limits)


def _least_alignment(scene: Scene) -> float:
    return max(scene.config.min_irp_alignment, MIN_ALIGNMENT)


def _alone(scene: Scene, j: int, chosen: int) -> Candidate:
    """The one asset of a run without selection: nothing is scored."""
    price, nan = float(scene.block[0, j]), math.nan
    verdict = AssetVerdict.CHOSEN if chosen == j else _unfit(scene, j)
    return Candidate(scene.assets[j], verdict.value, 0, price, scene.direction, nan, nan, nan, nan, nan, 0, nan, nan, nan)


def _unfit(scene: Scene, j: int) -> AssetVerdict:
    return AssetVerdict.BANNED if scene.assets[j] in scene.banned else AssetVerdict.NO_PRICE


def _candidate(scene: Scene, prices: Array, scores: Array, j: int, chosen: int) -> Candidate:
    action, ars = int(scores[ACTION, j]), float(scores[ARS, j])
    profile = irp_profile_nb(np.ascontiguousarray(prices[:, j]), action, scene.config.irp_units == "return")
    depth = scene.book_value("depth_quality", j)
    after = float(book_ars_nb(ars, depth)) if scene.has_book else ars
    known = not math.isnan(profile[0])
    return Candidate(
        asset=scene.assets[j],
        verdict=(AssetVerdict.CHOSEN if j == chosen else _verdict(scene, prices, j, (*profile, action, depth))).value,
        place=0,
        price=float(scene.block[0, j]),
        action=action,
        mfe=profile[0],
        mae=profile[1],
        efficiency=profile[2],
        alignment=float(scores[ALIGNMENT, j]) if known else math.nan,
        noise=profile[4],
        latency=profile[5],
        ars=ars,
        depth_quality=depth,
        ars_after_book=after,
    )


def _verdict(scene: Scene, prices: Array, j: int, found: tuple[Any, ...]) -> AssetVerdict:
    """First reason that holds. ``found`` = the profile of the asset's action, the action, the depth quality."""
    _, _, _, alignment, noise, latency, action, depth = found
    price = scene.block[0, j]
    reasons = {
        AssetVerdict.NO_PRICE: not (0.0 < price < math.inf),
        AssetVerdict.BANNED: scene.assets[j] in scene.banned,
        AssetVerdict.SHORT_HISTORY: bool(np.isnan(prices[0, j])),
        AssetVerdict.NOISE: not noise <= MAX_NOISE,
        AssetVerdict.LATENCY: latency > MAX_LATENCY,
        AssetVerdict.ALIGNMENT: alignment < _least_alignment(scene),
        AssetVerdict.OTHER_WAY: action != scene.direction,
        AssetVerdict.THIN_BOOK: depth < MIN_DEPTH_QUALITY,
    }
    return next((verdict for verdict, holds in reasons.items() if holds), AssetVerdict.OUTRANKED)


def _score(candidate: Candidate) -> float:
    """What the ranking sorts by: the score after the book; one that the book refused keeps the place of its raw score."""
    return candidate.ars if math.isnan(candidate.ars_after_book) else candidate.ars_after_book


def _has_place(candidate: Candidate) -> bool:
    return not math.isnan(candidate.ars) and candidate.latency <= MAX_LATENCY
