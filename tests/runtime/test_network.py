"""What the seam says of who asks."""

from __future__ import annotations

import pytest

from dohle.runtime.network import host_of


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1:5", "127.0.0.1"),
        ("[::1]:5", "::1"),
        ("[fe80::1%eth0]:5", "fe80::1%eth0"),
        ("simulated", "simulated"),
    ],
)
def test_an_address_is_a_host_and_a_port(address, host):
    assert host_of(address) == host
