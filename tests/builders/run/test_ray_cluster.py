"""Addresses of clusters, looked at before Ray is."""

from __future__ import annotations

import socket

import pytest

from builders.run.ray_cluster import connected
from nws_data.errors import BuildError


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:0", "host:99999", "host:٤٢", "host:port"])
def test_what_is_no_address(address):
    with pytest.raises(BuildError, match=r"give HOST:PORT of the cluster's head"), connected(address, 1):
        pass


def test_nobody_answers():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (
        pytest.raises(BuildError, match=rf"cannot use Ray at {address}: .*refused.*`ray status`") as caught,
        connected(address, 1),
    ):
        pass
    assert "--address local" in str(caught.value)


def test_no_such_host():
    with (
        pytest.raises(BuildError, match=r"cannot use Ray at no-such-host.invalid:6379"),
        connected("no-such-host.invalid:6379", 1),
    ):
        pass
