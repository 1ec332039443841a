"""A connection that is reset before TLS begins, as by a server that is killed, leaves nothing open in the tests."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import warnings

import pytest

pytestmark = pytest.mark.processes


def test_a_connection_that_is_reset_before_its_handshake_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        plain = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with pytest.raises(ConnectionResetError):
                ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
            gc.collect()
    assert [str(one.message) for one in told] == []
