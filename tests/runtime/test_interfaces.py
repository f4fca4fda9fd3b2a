"""The machine's own addresses."""

from __future__ import annotations

import socket

from dohle.runtime.interfaces import local_interfaces


def test_each_address_is_one_of_this_machine_and_of_use_elsewhere():
    found = local_interfaces()
    assert found == sorted(set(found), key=lambda one: (one.version, one.network.network_address.packed, one.ip.packed))
    for one in found:
        assert not any((one.ip.is_loopback, one.ip.is_link_local, one.ip.is_unspecified))
        assert one.ip in one.network
        family = socket.AF_INET if one.version == 4 else socket.AF_INET6
        with socket.socket(family) as listening:
            listening.bind((str(one.ip), 0))  # which the system refuses for addresses of others
