"""Tokens of an identity provider: signed with keys that a file or a URL tells, which change while the service runs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from pushsvc import auth
from pushsvc.errors import ConfigError, Unauthorized, Unavailable
from pushsvc.tokens import provider_keys
from pushsvc.tokens.provider_keys import ProviderKeys
from pushsvc.tokens.verifier import Verifier
from tests.conftest import Start
from tests.support.stack import SECRET

OTHER = "another-test-key-and-nothing-but-a-test-key"
ISSUER, AUDIENCE = "https://id.example.com/", "push"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ANOTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
KINDS: dict[str, tuple[Any, Any]] = {
    "RS256": (RSA, RSAAlgorithm),
    "ES256": (EC, ECAlgorithm),
    "EdDSA": (ED, OKPAlgorithm),
}


def member(key: Any, kind: Any, name: str | None, **more: str) -> dict[str, Any]:
    """A key as it stands in a set."""
    found: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    return found | ({} if name is None else {"kid": name}) | more


def key_set(*members: dict[str, Any]) -> bytes:
    return json.dumps({"keys": members}).encode()


ALL = key_set(*(member(key, kind, algorithm) for algorithm, (key, kind) in KINDS.items()))


def signed(algorithm: str, name: str | None = None, key: Any = None, **claims: Any) -> str:
    said = {"sub": "u", "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60} | claims
    headers = {} if name is None else {"kid": name}
    return jwt.encode({k: v for k, v in said.items() if v is not None}, key or KINDS[algorithm][0], algorithm, headers)


class Provider:
    """A server that tells keys."""

    def __init__(self) -> None:
        self.keys, self.status, self.asked = ALL, 200, 0
        self.pieces: Callable[[], Iterable[bytes]] = lambda: [self.keys]
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                self.send_response(provider.status)
                self.send_header("Content-Length", str(len(provider.keys)))
                self.end_headers()
                for piece in provider.pieces():
                    self.wfile.write(piece)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which keys grow old, which a test moves."""
    ahead = [0.0]
    began = time.monotonic()

    class Time:
        @staticmethod
        def monotonic() -> float:
            return began + ahead[0]

    monkeypatch.setattr(provider_keys, "time", Time)
    return ahead


def verifier(source: str) -> Verifier:
    return Verifier([SECRET, OTHER], provider=ProviderKeys(source), issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize("algorithm", KINDS)
@pytest.mark.parametrize("named", [True, False])
def test_each_kind_of_key(provider: Provider, tmp_path: Path, algorithm: str, named: bool) -> None:
    (tmp_path / "keys.json").write_bytes(ALL)
    token = signed(algorithm, algorithm if named else None)
    for source in (provider.url, str(tmp_path / "keys.json")):
        assert verifier(source).verify(token).user == "u"


@pytest.mark.parametrize(
    "token",
    [
        signed("RS256", "RS256", ANOTHER_RSA),
        signed("RS256", "ES256"),
        signed("ES256", "unknown"),
        signed("RS256", "RS256", iss="https://evil.example/"),
        signed("RS256", "RS256", iss=None),
        signed("RS256", "RS256", aud="other"),
        signed("RS256", "RS256", aud=["other", "another"]),
        signed("RS256", "RS256", aud=None),
        signed("RS256", "RS256", exp=1),
        jwt.encode({"sub": "u", "iss": ISSUER, "aud": AUDIENCE}, "", "none"),
        jwt.encode({"sub": "u", "iss": ISSUER, "aud": AUDIENCE}, OTHER + "x", "HS256"),
        jwt.encode({"sub": "u", "iss": ISSUER, "aud": AUDIENCE}, OTHER * 2, "HS512"),
    ],
)
def test_other_tokens_are_refused(provider: Provider, token: str) -> None:
    with pytest.raises(Unauthorized):
        verifier(provider.url).verify(token)


def test_a_public_key_is_no_secret(provider: Provider) -> None:
    """HS256 with the text of a public key: the classic confusion of algorithms."""
    provider.keys = key_set(
        {"kty": "oct", "k": "YS1zZWNyZXQta2V5LXRoYXQtc3RhbmRzLWluLXRoZS1zZXQ", "kid": "o", "alg": "HS256"},
        member(RSA, RSAAlgorithm, "r"),
    )
    token = jwt.encode(
        {"sub": "u", "iss": ISSUER, "aud": AUDIENCE}, "a-secret-key-that-stands-in-the-set", "HS256", {"kid": "o"}
    )
    with pytest.raises(Unauthorized):
        verifier(provider.url).verify(token)


def test_several_audiences(provider: Provider) -> None:
    assert verifier(provider.url).verify(signed("RS256", "RS256", aud=["other", AUDIENCE])).user == "u"


def test_our_own_tokens_beside_the_providers(provider: Provider) -> None:
    """Any of our secrets may have signed. They need not say who made them, but what they say must be right."""
    for secret in (SECRET, OTHER):
        assert verifier(provider.url).verify(auth.encode({"sub": "u"}, secret, ttl=60)).user == "u"
    with pytest.raises(Unauthorized, match="iss"):
        verifier(provider.url).verify(auth.encode({"sub": "u", "iss": "x"}, SECRET, ttl=60))
    assert not provider.asked


def test_without_a_provider_our_own_tokens_must_say_it() -> None:
    strict = Verifier([SECRET], issuer=ISSUER, audience=AUDIENCE)
    assert strict.verify(auth.encode({"sub": "u", "iss": ISSUER, "aud": AUDIENCE}, SECRET, ttl=60)).user == "u"
    for claims in ({"iss": ISSUER}, {"aud": AUDIENCE}, {"iss": ISSUER, "aud": "x"}, {}):
        with pytest.raises(Unauthorized, match="not meant for this service"):
            strict.verify(auth.encode({"sub": "u", **claims}, SECRET, ttl=60))


def test_a_new_key_is_found_when_a_token_names_it(provider: Provider, clock: list[float]) -> None:
    mine = verifier(provider.url)
    mine.verify(signed("RS256", "RS256"))
    provider.keys = key_set(member(RSA, RSAAlgorithm, "RS256"), member(ANOTHER_RSA, RSAAlgorithm, "new"))
    token = signed("RS256", "new", ANOTHER_RSA)
    for _ in range(3):  # not more often than every few seconds, whatever strangers send
        with pytest.raises(Unauthorized):
            mine.verify(token)
    assert provider.asked == 1
    clock[0] += provider_keys.PAUSE_SECONDS + 1
    assert mine.verify(token).user == "u"
    assert provider.asked == 2


def test_a_withdrawn_key_ends_also_for_tokens_that_are_known(provider: Provider, clock: list[float]) -> None:
    mine = verifier(provider.url)
    token = signed("RS256", "RS256")
    mine.verify(token)
    provider.keys = key_set(member(ANOTHER_RSA, RSAAlgorithm, "new"))
    assert mine.verify(token).user == "u"
    clock[0] += provider_keys.FRESH_SECONDS + 1
    with pytest.raises(Unauthorized):
        mine.verify(token)


def test_a_provider_that_never_ends(provider: Provider, clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """It sends a byte before each time-out of the socket. The reader gives up, and the next one may ask again."""
    ended = threading.Event()

    def drip() -> Iterator[bytes]:
        for byte in ALL:
            if ended.is_set():
                return
            clock[0] += provider_keys.LONGEST_SECONDS / 4
            yield bytes([byte])

    provider.pieces = drip
    late = verifier(provider.url)
    with pytest.raises(Unavailable):
        late.verify(signed("RS256", "RS256"))
    ended.set()
    assert [line for line in caplog.messages if "did not arrive within" in line]
    provider.pieces = lambda: [ALL]
    clock[0] += 2 * provider_keys.PAUSE_SECONDS
    assert late.verify(signed("RS256", "RS256")).user == "u"


def test_a_provider_that_is_away(provider: Provider, clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """Known keys go on being used; where none was ever known, the client is to try again."""
    late, early = verifier(provider.url), verifier(provider.url)
    early.verify(signed("RS256", "RS256"))
    for status, keys in ((503, ALL), (200, b"{}"), (200, b"<html>"), (200, b" " * (provider_keys.MOST_BYTES + 1))):
        provider.status, provider.keys = status, keys
        clock[0] += provider_keys.FRESH_SECONDS + 1
        assert early.verify(signed("RS256", "RS256")).user == "u"
        with pytest.raises(Unavailable):
            late.verify(signed("RS256", "RS256"))
    assert len([line for line in caplog.messages if "PUSHSVC_JWKS" in line]) == 2  # once each
    provider.status, provider.keys = 200, ALL
    clock[0] += provider_keys.PAUSE_SECONDS + 1
    assert late.verify(signed("RS256", "RS256")).user == "u"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"keys": 7}', b'{"keys": []}', b'{"keys": [7]}', key_set({"kty": "oct", "k": "YQ"}), None]
)
def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"PUSHSVC_JWKS: .* cannot be used") as caught:
        ProviderKeys(str(path))
    assert len(caught.value.detail.splitlines()) == 1


def test_keys_that_do_not_sign_are_left_out(tmp_path: Path) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    path = tmp_path / "keys.json"
    members = [
        member(RSA, RSAAlgorithm, "e", use="enc"), member(EC, ECAlgorithm, "x", alg="unheard-of"),
        {"kty": "EC", "crv": "P-256"},
        member(weak, RSAAlgorithm, "w"), member(ED, OKPAlgorithm, "good", use="sig"),
    ]  # fmt: skip
    path.write_bytes(key_set(*members))
    assert [key.key_id for key in ProviderKeys(str(path)).find(None, "EdDSA")] == ["good"]
    assert not ProviderKeys(str(path)).find(None, "RS256")


def test_a_page_of_the_provider_listens(start: Start, provider: Provider, user: str) -> None:
    """It does so beside several secrets, too: what an earlier secret has signed is good as long as it is listed."""
    stack = start(jwks=provider.url, issuer=ISSUER, audience=AUDIENCE, secret=f"{SECRET},{OTHER}")
    theirs = {"Authorization": f"Bearer {signed('ES256', 'ES256', sub=user)}"}
    with stack.listen(user, headers=theirs) as source:
        ids = []
        for secret in (SECRET, OTHER):
            token = auth.encode({"publish": ["*"]}, secret, ttl=60)
            answer = stack.post("/publish", {"user": user, "data": 1}, {"Authorization": f"Bearer {token}"})
            ids.append(answer.json()["id"])
        source.wait_ids(*ids)
    refused = stack.get("/unread", {"Authorization": f"Bearer {signed('ES256', 'ES256', sub=user, aud='other')}"})
    assert (refused.status_code, "aud" in refused.json()["detail"]) == (401, True)
