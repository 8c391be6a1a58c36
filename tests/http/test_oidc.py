"""Tokens of an OpenID provider open the door as keys do: a real provider on loopback, with real keys."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from engage import bootstrap
from engage.http.app import create_app
from engage.services import provider_keys
from engage.settings import Settings, SettingsError, load
from tests.http.given import Clock

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Provider:
    """What it serves is set by hand; how often it was asked is counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.issuer = url
        self.keys: dict[str, Private] = {"first": ec.generate_private_key(ec.SECP256R1())}
        self.extra: list[dict[str, Any]] = []
        self.asked = 0
        self.broken = False

    def answer(self, path: str) -> dict[str, Any]:
        if path == "/.well-known/openid-configuration":
            self.asked += 1
            return {"issuer": self.issuer, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [*self.extra, *(_jwk(name, key) for name, key in self.keys.items())]}

    def token(self, kid: str = "first", key: Private | None = None, **changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "engage", "sub": "ada", "exp": now + 60, "scope": "engage:operate other"}
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        signs = key or self.keys[kid]
        algorithm = "RS256" if isinstance(signs, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(claims, signs, algorithm, headers={"kid": kid})


def _jwk(name: str, key: Private) -> dict[str, Any]:
    public = key.public_key()
    made: dict[str, Any] = (
        RSAAlgorithm.to_jwk(public, as_dict=True)
        if isinstance(public, rsa.RSAPublicKey)
        else ECAlgorithm.to_jwk(public, as_dict=True)
    )
    return made | {"kid": name, "use": "sig"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"no JSON" if served.broken else json.dumps(served.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        served = Provider(f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield served
        server.shutdown()


@pytest.fixture
async def http(provider: Provider, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        home=str(tmp_path),
        oidc_issuer=provider.url,
        oidc_audience="engage",
        oidc_scopes="engage:operate=operate managers=read,work",
    )
    async with bootstrap.platform(settings, clock=Clock()) as platform:
        transport = httpx.ASGITransport(create_app(platform), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            yield client


async def asked(http: httpx.AsyncClient, token: str, path: str = "/v1/status") -> int:
    answer = await http.get(path, headers={"authorization": f"Bearer {token}"})
    assert token not in answer.text
    return answer.status_code


async def test_a_token_opens_what_its_words_mean_here(http: httpx.AsyncClient, provider: Provider):
    assert (await http.get("/v1/status")).status_code == 401
    assert await asked(http, provider.token()) == 200
    assert await asked(http, provider.token(), "/v1/follow-ups") == 403
    assert await asked(http, provider.token(scope=None)) == 403
    assert await asked(http, provider.token(scope=["managers", "engage:operate"])) == 200
    assert await asked(http, provider.token(scope=["managers"]), "/v1/follow-ups") == 200
    assert provider.asked == 1


async def test_what_a_token_must_say_and_until_when(http: httpx.AsyncClient, provider: Provider):
    now = int(time.time())
    refused: dict[str, Any] = {
        "aud": "another",
        "iss": "https://another.example",
        "exp": now - 60,
        "nbf": now + 120,
        "sub": 7,
    }
    for claim, value in refused.items():
        wrong: dict[str, Any] = {claim: value}
        assert await asked(http, provider.token(**wrong)) == 401, claim
    for claim in ("aud", "iss", "exp", "sub"):
        without: dict[str, Any] = {claim: None}
        assert await asked(http, provider.token(**without)) == 401, claim
    assert await asked(http, provider.token(exp=now - 10)) == 200, "clocks may differ a little"
    assert await asked(http, provider.token(aud=["another", "engage"])) == 200
    assert await asked(http, provider.token(pad="x" * 20_000)) == 401


async def test_a_token_that_its_provider_did_not_sign_opens_nothing(http: httpx.AsyncClient, provider: Provider):
    provider.keys["rsa"] = RSA
    assert await asked(http, provider.token("rsa")) == 200
    assert await asked(http, provider.token(key=ec.generate_private_key(ec.SECP256R1()))) == 401
    head, claims, signature = provider.token("rsa").split(".")
    other = provider.token("rsa", scope="managers").split(".")[1]
    assert await asked(http, f"{head}.{other}.{signature}") == 401
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for kid in ("rsa", "first"):
        assert await asked(http, forged({"alg": "HS256", "kid": kid}, claims, public)) == 401
        for none in ("none", "None", ""):
            assert await asked(http, f"{part({'alg': none, 'kid': kid})}.{claims}.") == 401
        assert await asked(http, forged({"alg": "ES256", "kid": kid}, claims, public)) == 401


async def test_a_symmetric_key_that_the_provider_shows_signs_nothing(http: httpx.AsyncClient, provider: Provider):
    secret = b"x" * 32
    shown = urlsafe_b64encode(secret).decode().rstrip("=")
    provider.extra = [{"kty": "oct", "kid": "shared", "k": shown, "alg": "HS256"}]
    claims = provider.token().split(".")[1]
    assert await asked(http, forged({"alg": "HS256", "kid": "shared"}, claims, secret)) == 401
    assert await asked(http, provider.token()) == 200


async def test_a_new_key_is_found_and_strange_ones_do_not_make_us_ask_again_and_again(
    http: httpx.AsyncClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    assert await asked(http, provider.token()) == 200
    stranger = ec.generate_private_key(ec.SECP256R1())
    for number in range(20):
        assert await asked(http, provider.token(f"kid-{number}", stranger)) == 401
    assert provider.asked == 1
    monkeypatch.setattr(provider_keys, "BETWEEN_SECONDS", 0.0)
    first = provider.token()
    provider.keys = {"second": ec.generate_private_key(ec.SECP256R1())}
    assert await asked(http, provider.token("second")) == 200
    assert await asked(http, first) == 401, "a key that was withdrawn signs no more"


async def test_keys_that_were_had_go_on_while_the_provider_is_away(
    http: httpx.AsyncClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(provider_keys, "BETWEEN_SECONDS", 0.0)
    provider.broken = True
    assert await asked(http, provider.token()) == 503
    provider.broken = False
    provider.issuer = "https://another.example"
    assert await asked(http, provider.token()) == 503, "a document of another issuer is not taken"
    provider.issuer = provider.url
    assert await asked(http, provider.token()) == 200
    provider.broken = True
    monkeypatch.setattr(provider_keys, "OLD_SECONDS", 0.0)
    assert await asked(http, provider.token()) == 200


async def test_nobody_at_the_provider_can_take_the_name_of_a_key(provider: Provider):
    from engage.services.oidc import Oidc, OidcSettings

    oidc = Oidc(OidcSettings(provider.url, "engage", "realm.roles", {"boss": frozenset({"work"})}, "sub"))
    caller = await oidc.caller(provider.token(sub="console/ada%", realm={"roles": ["boss"]}))
    assert (caller.name, caller.scopes) == ("oidc:console%2Fada%25", frozenset({"work"}))
    assert caller.actor("bob") == "oidc:console%2Fada%25/bob"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"OIDC_ISSUER": "http://id.example", "OIDC_AUDIENCE": "engage"}, "https://"),
        ({"OIDC_ISSUER": "https://id.example"}, "ENGAGE_OIDC_AUDIENCE"),
        ({"OIDC_SCOPES": "managers=reed"}, "'managers=reed'"),
        ({"OIDC_SCOPES": "managers"}, "'managers'"),
        ({"CORS_ORIGINS": "https://a.example/path"}, "no origin"),
        ({"CORS_ORIGINS": "*"}, "no origin"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, str], words: str):
    with pytest.raises(SettingsError, match=words):
        load({f"ENGAGE_{name}": value for name, value in given.items()})


def part(of: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(of).encode()).decode().rstrip("=")


def forged(header: dict[str, Any], claims: str, secret: bytes) -> str:
    signed = f"{part(header)}.{claims}"
    return f"{signed}.{urlsafe_b64encode(hmac.digest(secret, signed.encode(), sha256)).decode().rstrip('=')}"
