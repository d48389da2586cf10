"""A live venue before and after its permission: without one nothing is entered, and nothing is built."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.live_venue import LiveVenue
from dolphin.config import EngineConfig, VenueConfig
from dolphin.deployment import LiveConfig
from dolphin.errors import ConfigError
from dolphin.lane.lane import Lane
from dolphin.lane.records import Records
from dolphin.live.gates import Admission
from dolphin.live.keys import ExchangeKeys
from dolphin.live.permit import Permit

PERMIT = Permit(lane="BLUE", venue="BINANCE", capital=1.0, terms="t", issued_ms=0, expires_ms=1_000)


def venue_of(admit):
    return LiveVenue("BLUE", Lane(EngineConfig(), -1, with_book=False), Records(lambda entries: None), VenueConfig(), admit)


def test_a_refused_admission_builds_no_node():
    def refused():
        raise ConfigError("live trading is off")

    venue = venue_of(refused)
    with pytest.raises(ConfigError, match="live trading is off"):
        venue.open({})
    assert not hasattr(venue, "_node")
    assert venue.blocks == ("PERMIT_OVER",)


@pytest.mark.parametrize(("now", "blocks"), [(999, ()), (1_000, ("PERMIT_OVER",)), (2_000, ("PERMIT_OVER",))])
def test_a_permission_that_has_ended_blocks_entries_of_the_running_lane(now, blocks):
    venue = venue_of(lambda: None)
    venue._admission = Admission(LiveConfig(mode="live"), PERMIT, ExchangeKeys("k" * 20, "s" * 20))
    venue._node = SimpleNamespace(kernel=SimpleNamespace(clock=SimpleNamespace(timestamp_ms=lambda: now)))
    assert venue.blocks == blocks


def test_what_an_exchange_did_is_never_done_again_by_a_recovery():
    assert not LiveVenue.repeatable
