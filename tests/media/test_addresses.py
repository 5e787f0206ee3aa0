"""The check of addresses, against the tables of Python and of those who attack servers."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightllm_rs.media.addresses import is_public

REFUSED = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
]
ALLOWED = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::6810:1", "2a00:1450::1"]


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ALLOWED)
def test_allowed(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@given(st.ip_addresses())
def test_nothing_that_python_knows_as_special_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    special = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    if special or address.is_reserved or address.is_unspecified:
        assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_ipv4_addresses_are_refused_only_for_a_reason(address: ipaddress.IPv4Address) -> None:
    known = ("168.63.129.16/32", "192.88.99.0/24", "192.0.0.0/24", "224.0.0.0/4", "100.64.0.0/10")
    if not is_public(address) and not any(address in ipaddress.IPv4Network(network) for network in known):
        assert not address.is_global


@given(st.ip_addresses(v=4), st.integers(0, 2**16 - 1))
def test_no_ipv4_address_hides_in_an_ipv6_one(address: ipaddress.IPv4Address, rest: int) -> None:
    value = int(address)
    for hidden in (
        value,  # compatible
        0xFFFF << 32 | value,  # mapped
        0xFFFF << 48 | value,  # translated
        0x0064_FF9B << 96 | value,  # NAT64
        0x0064_FF9B_0001 << 80 | value,  # NAT64 of one network
        0x2002 << 112 | value << 80 | rest,  # 6to4
        0x2001_0000 << 96 | value << 64 | rest << 32 | (value ^ 0xFFFF_FFFF),  # Teredo
    ):
        assert not is_public(ipaddress.IPv6Address(hidden))
