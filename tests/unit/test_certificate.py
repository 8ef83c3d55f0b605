"""The certificate of PUSHSVC_TLS: what stops the start, and when our own is made anew."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.stack.certificate import find_certificate
from tests.support.certificates import make_certificate


def refusal(tls: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find_certificate(Settings(tls=tls))
    assert caught.value.detail.startswith("PUSHSVC_TLS: ")
    assert len(caught.value.detail.splitlines()) == 1
    return caught.value.detail


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path, "good")
    other, _ = make_certificate(tmp_path, "other")
    ended, key_of_ended = make_certificate(tmp_path, "ended", days=-1)
    words = tmp_path / "words"
    words.write_text("no certificate")
    assert "cannot read" in refusal(f"{tmp_path}/nothing.pem,{key}")
    assert "cannot read" in refusal(f"{file},{tmp_path}/nothing.key")
    assert "cannot read" in refusal(f"{tmp_path},{key}")
    assert "is not the key of" in refusal(f"{other},{key}")
    assert "is no certificate in PEM" in refusal(f"{words},{key}")
    assert "is not the key of" in refusal(f"{file},{words}")
    assert "ended on" in refusal(f"{ended},{key_of_ended}")


def test_files_that_can(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path, "good")
    found = find_certificate(Settings(tls=f"{file}, {key}"))
    assert found is not None
    assert (found.file, found.key, found.own, found.stapled) == (file, key, False, False)


def test_our_own_is_kept_as_long_as_it_is_good(tmp_path: Path) -> None:
    settings = Settings(tls="self-signed", data_dir=tmp_path)
    made = find_certificate(settings)
    assert made is not None
    assert made.own
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    first = made.file.read_bytes()
    find_certificate(settings)
    assert made.file.read_bytes() == first
    find_certificate(settings.model_copy(update={"public_url": "https://push.example.com"}))
    second = made.file.read_bytes()
    assert second != first, "browsers would not take it for the new name"
    ending, key = make_certificate(tmp_path, "ending", days=29)
    shutil.copy(ending, made.file)
    shutil.copy(key, made.key)
    find_certificate(settings)
    assert made.file.read_bytes() not in (second, ending.read_bytes())


@pytest.mark.parametrize("tls", ["on", "a.pem", "a.pem,", ",b.pem", "a.pem,b.pem,c.pem", "self-signed\n"])
def test_what_is_no_value(tls: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({"PUSHSVC_TLS": tls})
    assert caught.value.detail.startswith("PUSHSVC_TLS")
