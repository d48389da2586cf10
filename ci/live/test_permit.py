"""The gate file: what was signed by an allowed key counts, and nothing that anybody could have changed."""

from __future__ import annotations

import json
import os

import pytest

from dolphin.config import EngineConfig, Settings, VenueConfig
from dolphin.deployment import FeedConfig, LiveConfig
from dolphin.errors import ConfigError
from dolphin.live.permit import Permit, make_signing_key, public_key, read_permit, sign_permit, terms_of

PERMIT = Permit(lane="BLUE", venue="BINANCE", capital=1_000.0, terms="abc", issued_ms=1, expires_ms=2)


@pytest.fixture
def signed(tmp_path):
    """A gate file, its signer."""
    signer = make_signing_key(tmp_path / "key.pem")
    assert sign_permit(PERMIT, tmp_path / "key.pem", tmp_path / "gate") == signer
    return tmp_path / "gate", signer


def test_what_was_signed_is_read_back(signed, tmp_path):
    path, signer = signed
    assert read_permit(path, f"somebody, {signer}") == PERMIT
    assert public_key(tmp_path / "key.pem") == signer
    assert {oct(p.stat().st_mode & 0o7777) for p in (path, tmp_path / "key.pem")} == {"0o600"}


@pytest.mark.parametrize("signers", ["", "AAAA", "AAAA,BBBB"])
def test_a_signer_who_is_not_among_ours_counts_for_nothing(signed, signers):
    with pytest.raises(ConfigError, match=r"not among live\.signers"):
        read_permit(signed[0], signers)


@pytest.mark.parametrize(
    ("name", "value"), [("lane", "GREEN"), ("capital", 1001.0), ("expires_ms", 3), ("terms", "abd"), ("venue", "OKX"), ("issued_ms", 0)]
)
def test_a_changed_gate_file_is_refused(signed, name, value):
    path, signer = signed
    said = json.loads(path.read_text())
    said["permit"][name] = value
    path.write_text(json.dumps(said))
    with pytest.raises(ConfigError, match="signature does not hold"):
        read_permit(path, signer)


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", "A" * 88])
def test_a_made_up_signature_is_refused(signed, signature):
    path, signer = signed
    path.write_text(json.dumps(json.loads(path.read_text()) | {"signature": signature}))
    with pytest.raises(ConfigError, match="signature does not hold"):
        read_permit(path, signer)


def test_a_signature_of_another_key_is_refused_under_our_name(signed, tmp_path):
    path, signer = signed
    make_signing_key(tmp_path / "other.pem")
    sign_permit(PERMIT, tmp_path / "other.pem", tmp_path / "forged")
    forged = json.loads((tmp_path / "forged").read_text()) | {"signer": signer}
    path.write_text(json.dumps(forged))
    with pytest.raises(ConfigError, match="signature does not hold"):
        read_permit(path, signer)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o4600])
def test_a_gate_file_with_wider_permissions_is_refused(signed, mode):
    path, signer = signed
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_permit(path, signer)


@pytest.mark.parametrize("text", ["", "{}", "[]", "\x00", '{"schema": "dolphin.live-gate/2"}', "[" * 50_000])
def test_what_is_no_gate_file_is_refused_in_one_line(signed, text):
    path, signer = signed
    path.write_text(text)
    with pytest.raises(ConfigError, match="no gate file"):
        read_permit(path, signer)


def test_links_pipes_absent_and_huge_files_are_refused(signed, tmp_path):
    path, signer = signed
    link, pipe, huge = tmp_path / "link", tmp_path / "pipe", tmp_path / "huge"
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    huge.write_bytes(b" " * 70_000)
    huge.chmod(0o600)
    for wrong, why in ((link, "cannot be read"), (pipe, "regular file"), (tmp_path / "absent", "cannot be read"), (huge, "more than")):
        with pytest.raises(ConfigError, match=why):
            read_permit(wrong, signer)


def test_a_file_of_another_user_is_refused(signed, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match="belongs to user"):
        read_permit(*signed)


def test_nothing_is_overwritten(signed, tmp_path):
    with pytest.raises(ConfigError, match="File exists"):
        make_signing_key(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match="File exists"):
        sign_permit(PERMIT, tmp_path / "key.pem", signed[0])


@pytest.mark.parametrize("text", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_signing_key_is_refused_without_its_content(tmp_path, text):
    key = tmp_path / "key.pem"
    key.write_text(text)
    key.chmod(0o600)
    with pytest.raises(ConfigError, match="no Ed25519 private key") as refused:
        public_key(key)
    assert "AAAA" not in str(refused.value)


def test_terms_change_with_whatever_decides_orders():
    """Engine, venue, feed and live settings count; the number of alerts in a queue does not."""
    changed = [
        Settings(engine=EngineConfig(max_leverage=4.0)),
        Settings(venue=VenueConfig(max_notional=5.0)),
        Settings(feed=FeedConfig(bar_seconds=5)),
        Settings(live=LiveConfig(paper_days=3)),
        Settings(profile="x"),
    ]
    hashes = {terms_of(settings) for settings in (Settings(), *changed)}
    assert len(hashes) == 1 + len(changed)
