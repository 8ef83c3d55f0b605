"""Whatever a key set holds: it is used as far as it can be, or refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from pushsvc.errors import ConfigError
from pushsvc.tokens.provider_keys import ProviderKeys

GOOD: Final[dict[str, Any]] = json.loads(OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate().public_key()))
_LEAVES: Final = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(max_size=8)
)
_JSON: Final = some.recursive(
    _LEAVES, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=3)
)
_NUMBERS: Final = some.sampled_from(["AQAB", "AA", "", "!", "A", GOOD["x"]])
_KEY: Final = some.fixed_dictionaries(
    {},
    optional={
        "kty": some.sampled_from(["RSA", "EC", "OKP", "oct"]) | _JSON,
        "crv": some.sampled_from(["P-256", "P-384", "secp256k1", "Ed25519", "X25519"]) | _JSON,
        "alg": some.sampled_from(["RS256", "ES256", "EdDSA", "HS256", "none"]) | _JSON,
        "kid": _JSON, "use": some.just("sig") | _JSON, "key_ops": some.just(["verify"]) | _JSON,
        **dict.fromkeys(("n", "e", "x", "y", "d", "k", "p", "q"), _NUMBERS | _JSON),
    },
)  # fmt: skip


def keys_of(folder: Path, document: object) -> list[str]:
    """The algorithms of the keys that are used. Raises ConfigError."""
    path = folder / "keys.json"
    path.write_text(json.dumps(document))
    return [key.algorithm_name for key in ProviderKeys(str(path)).find(None, "EdDSA")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(others=some.lists(_KEY | _JSON, max_size=3))
def test_a_key_that_cannot_be_read_spoils_no_other(tmp_path: Path, others: list[object]) -> None:
    """RFC 7517, section 5: keys that are not understood, or lack something, are passed over."""
    assert "EdDSA" in keys_of(tmp_path, {"keys": [*others, GOOD]})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(document=_JSON | some.fixed_dictionaries({"keys": some.lists(_KEY, max_size=2) | _JSON}))
def test_a_document_is_used_or_refused(tmp_path: Path, document: object) -> None:
    with suppress(ConfigError):
        assert isinstance(keys_of(tmp_path, document), list)


def test_of_a_private_key_the_public_half_is_used(tmp_path: Path) -> None:
    private = generate_private_key(65537, 2048)
    member = json.loads(RSAAlgorithm.to_jwk(private)) | {"alg": "RS256", "key_ops": ["sign", "verify"]}
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [member]}))
    [key] = ProviderKeys(str(path)).find(None, "RS256")
    token = jwt.encode({"sub": "alice"}, private, algorithm="RS256")
    assert jwt.decode(token, key, algorithms=["RS256"]) == {"sub": "alice"}
