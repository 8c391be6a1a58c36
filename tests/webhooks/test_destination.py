"""Webhooks go out into the Internet, by https, and nowhere into the house's own network; nobody keeps us waiting."""

import asyncio
import ipaddress
import socket
from datetime import timedelta

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.services.webhooks import destination
from engage.services.webhooks.backoff import FIRST, LONGEST, SPREAD, wait_after
from engage.services.webhooks.destination import DestinationRefusedError, EndpointError, Guarded, check_url, is_public
from engage.services.webhooks.sending import Sender
from engage.store.webhooks import Endpoint, Secret, Subscription
from tests.http.given import START


@pytest.mark.parametrize(
    "url",
    [
        "https://mailer.example/hooks?for=engage",
        "https://203.0.114.7:8443/",
        "https://[2606:4700::1111]/x",
        "http://127.0.0.1:8000/",
        "http://localhost/",
        "https://[::1]/",
    ],
)
def test_these_may_be_told(url):
    check_url(url, private=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://mailer.example/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://127.0.0.2/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://user:word@mailer.example/",
        "https://mailer.example/#part",
        "https://mailer.example/a b",
        "https://mailer.example/\u0645",
        "https:///path",
        "https://mailer.example:99999/",
        "https://[::1/",
        "ftp://mailer.example/",
        "file:///etc/passwd",
        "mailer.example",
        "",
        "https://mailer.example/" + "x" * 2_000,
    ],
)
def test_these_are_refused(url):
    with pytest.raises(EndpointError) as refused:
        check_url(url, private=False)
    assert refused.value.field == "url"


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_however_it_is_wrapped(address):
    wrapped = [
        ipaddress.IPv6Address(f"::ffff:{address}"),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address)),
        ipaddress.IPv6Address((0x2002 << 112) + (int(address) << 80)),
    ]
    assert {is_public(one) for one in wrapped} == {is_public(address)}


class Names:
    """The names of the world, by ``getaddrinfo``."""

    SOCK_STREAM = socket.SOCK_STREAM

    def __init__(self, getaddrinfo):
        self.getaddrinfo = getaddrinfo


@pytest.mark.parametrize("private", [False, True])
async def test_a_name_that_stands_for_an_address_of_the_house_is_not_connected_to(monkeypatch, private):
    def looked_up(host, port, **_):
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(destination, "socket", Names(looked_up))
    came = asyncio.Event()

    async def answer(_reader, writer):
        came.set()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        guarded = Guarded(private=private)
        if private:
            await (await guarded.connect_tcp("rebound.example", port)).aclose()
            await asyncio.wait_for(came.wait(), 10)
        else:
            with pytest.raises(DestinationRefusedError, match="ENGAGE_WEBHOOKS_PRIVATE"):
                await guarded.connect_tcp("rebound.example", port)
            assert not came.is_set()


async def test_nobody_can_make_us_connect_to_a_socket_of_this_machine():
    with pytest.raises(DestinationRefusedError):
        await Guarded(private=True).connect_unix_socket("/run/docker.sock")


def endpoint(url: str) -> Endpoint:
    secrets = (Secret("whsec_" + "QUFB" * 8),)
    return Endpoint(id="we_1", url=url, subscription=Subscription(), secrets=secrets, created=START)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive"])
async def test_who_does_not_answer_or_not_to_the_end_is_not_waited_for(says):
    over = asyncio.Event()

    async def hang(_reader, writer):
        writer.write(says)
        await over.wait()
        writer.close()

    sender = Sender(private=False, seconds=0.1)
    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        reply = await sender.post(endpoint(url), "msg_1", b"{}", START)
        assert (reply.taken, reply.words) == (False, "no answer within 0.1 s")
        await sender.close()
        over.set()


@pytest.mark.parametrize("says", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 abc\r\n\r\n"])
async def test_what_is_no_answer_of_http_is_a_failed_attempt(says):
    async def answer(reader, writer):
        await reader.readuntil(b"{}")
        writer.write(says)
        writer.close()

    sender = Sender(private=False)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        reply = await sender.post(endpoint(url), "msg_1", b"{}", START)
    assert (reply.taken, reply.status) == (False, None)
    assert reply.words.startswith("cannot be reached")
    await sender.close()


async def test_a_name_that_nobody_knows_is_a_failed_attempt(monkeypatch):
    def unknown(*_, **__):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(destination, "socket", Names(unknown))
    with pytest.raises(httpcore.ConnectError, match="Name or service not known"):
        await Guarded(private=False).connect_tcp("nowhere.example", 443)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_grow_to_half_a_day_and_spread_a_fifth_around(attempts, chance):
    wait = wait_after(attempts, chance)
    plain = wait_after(attempts, 0.5)
    assert FIRST <= plain <= LONGEST
    assert abs(wait - plain) <= plain * SPREAD + timedelta(microseconds=1)
    assert wait_after(attempts + 1, 0.5) == min(plain * 4, LONGEST)
