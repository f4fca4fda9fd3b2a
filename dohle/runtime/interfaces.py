"""The addresses of this machine and the networks that they are in, by getifaddrs(3).

Leaves out what clients elsewhere cannot use: loopback, link-local addresses, interfaces that are down. Where the
system has no such call, nothing is known.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final, TypeAlias

Interface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_UP: Final = 0x1
_FAMILY_AT: Final = 1 if sys.platform == "darwin" else 0  # macOS has a byte of length before a byte of family
_FAMILY: Final = struct.Struct("B" if sys.platform == "darwin" else "H")
_IPV4: Final = slice(4, 8)
_IPV6: Final = slice(8, 24)


class _Entry(ctypes.Structure):
    pass


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
]


def local_interfaces() -> list[Interface]:
    """Returns each address with its network, IPv4 first."""
    library = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_Entry)()
    try:
        if library.getifaddrs(ctypes.byref(first)) != 0:
            return []
    except AttributeError:
        return []
    try:
        found = dict.fromkeys(_interfaces(first))
    finally:
        library.freeifaddrs(first)
    return sorted(found, key=lambda one: (one.version, one.network.network_address.packed, one.ip.packed))


def _interfaces(entry: ctypes._Pointer[_Entry]) -> Iterator[Interface]:
    while entry:
        one = entry.contents
        if one.flags & _UP and one.address and one.netmask:
            interface = _interface(one.address, one.netmask)
            if interface is not None and not (interface.ip.is_loopback or interface.ip.is_link_local):
                yield interface
        entry = one.next


def _interface(address: int, netmask: int) -> Interface | None:
    (family,) = _FAMILY.unpack(ctypes.string_at(address + _FAMILY_AT, _FAMILY.size))
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    part = _IPV4 if family == socket.AF_INET else _IPV6
    ip, mask = (ctypes.string_at(at, part.stop)[part] for at in (address, netmask))
    prefix = int.from_bytes(mask, "big").bit_count()
    return ipaddress.ip_interface((ip, prefix))
