"""Feature grid: what processes tell each other, as JSON records by map and key. A cache and a bus, never the only copy of anything."""
