"""Keys of the exchange come from the environment or a private file, and no error says a character of them."""

from __future__ import annotations

import json

import pytest

from dolphin.errors import ConfigError
from dolphin.live.keys import KEY, SECRET, read_keys

CANARY = "cAnAry0cAnAry1cAnAry2"


def test_keys_of_the_environment_are_found_and_not_shown():
    keys = read_keys("", {KEY: f" {CANARY}\n", SECRET: CANARY[::-1]})
    assert (keys.key, keys.secret) == (CANARY, CANARY[::-1])
    assert "nAry" not in repr(keys) + str(keys)


def test_keys_of_a_private_file_count_before_the_environment(tmp_path):
    path = tmp_path / "keys"
    path.write_text(json.dumps({"key": CANARY, "secret": CANARY}))
    path.chmod(0o600)
    assert read_keys(str(path), {KEY: "x" * 20, SECRET: "y" * 20}).key == CANARY


@pytest.mark.parametrize("environ", [{}, {KEY: CANARY}, {SECRET: CANARY}, {KEY: CANARY[:9], SECRET: CANARY}])
def test_missing_keys_are_named_and_not_quoted(environ):
    with pytest.raises(ConfigError, match="missing or shorter") as refused:
        read_keys("", environ)
    assert "cAnAry" not in str(refused.value)


@pytest.mark.parametrize("text", ["", CANARY, f'{{"key": "{CANARY}"}}', f'{{"key": "{CANARY}", "secret": 1}}', f'{{"{CANARY}": 1}}'])
def test_a_key_file_that_is_none_is_refused_without_its_content(tmp_path, text):
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="must be JSON") as refused:
        read_keys(str(path), {})
    assert "cAnAry" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_key_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "keys"
    path.write_text(json.dumps({"key": CANARY, "secret": CANARY}))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 0644; chmod 600"):
        read_keys(str(path), {})
