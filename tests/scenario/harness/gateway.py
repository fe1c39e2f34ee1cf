# SPDX-License-Identifier: MIT
"""A fleet with a gateway, and clients of it that may be as rude as they like."""
import http.client
import json
import socket

from .fleet import BUILD, Fleet, wait_until

GATEWAY = BUILD / "flotilla-gateway"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def ask(port, path, method="GET", body=None, host=None, **headers):
    """One request on a connection of its own; a name's _ is a - in the header."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    fields = {"Host": host or f"127.0.0.1:{port}",
              **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        client.request(method, path, body=body, headers=fields)
        reply = client.getresponse()
        return Answer(reply.status, reply.headers, reply.read())
    finally:
        client.close()


def raw(port, data, seconds=60):
    """Sends bytes as they are, returns all that comes back until the other side ends it."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as one:
        out = b""
        try:
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
            while piece := one.recv(65536):
                out += piece
        except TimeoutError:
            raise
        except OSError:  # it had enough of it
            pass
        return out


class GatewayFleet(Fleet):
    def __init__(self, channels, gateway=None, **kw):
        self.port = free_port()
        top = {"gateway": {"listen": f"127.0.0.1:{self.port}", **(gateway or {})},
               **kw.pop("top", {})}
        super().__init__(channels, top=top, **kw)

    def __enter__(self):
        super().__enter__()
        try:
            wait_until(self.serves, what="the gateway serves")
        except BaseException:
            self.__exit__(AssertionError, None, None)
            raise
        return self

    def serves(self):
        try:
            return self.ask("/").status in (200, 401)
        except OSError:
            return False

    def ask(self, path, *arguments, **kw):
        return ask(self.port, path, *arguments, **kw)

    def service(self):
        return next(one for one in self.status()["services"] if one["name"] == "gateway")
