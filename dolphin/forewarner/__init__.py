"""MC-forewarner (Monte-Carlo forewarner): how likely a configuration is to end in a catastrophe, learnt from trials of the engine itself.

``envelope`` (configurations) x ``paths`` (bootstrapped days) -> ``trial`` (the engine runs) -> ``table`` (parquet) -> ``model`` and
``forewarner`` (what the engine asks at the start of a day) and ``calibration`` with its ``page`` (whether to believe it).
scikit-learn and scipy are imported where they are used; the extra ``forewarner`` brings them.
"""
