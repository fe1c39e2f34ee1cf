# SPDX-License-Identifier: MIT
"""A sender that knows how many of its datagrams came to a socket: on the loopback interface it
learns with the next one that nobody has taken one."""
import socket
import threading
import time


class Pinger(threading.Thread):
    """Sends datums to an address of this host until it is told to stop. `taken`: how many came to a
    socket; of each that did not, the next send tells."""

    def __init__(self, address, pool, rate):
        super().__init__()
        host, port = address.split(":")
        self.to, self.pool, self.rate = (host, int(port)), pool, rate
        self.taken, self.ended = 0, False
        self.start()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(self.to)
            begun = time.monotonic()
            for number, datum in enumerate(self.pool):
                if self.ended:
                    break
                time.sleep(max(0, begun + number / self.rate - time.monotonic()))
                try:
                    sender.send(datum)
                    self.taken += 1
                except ConnectionRefusedError:
                    self.taken -= 1
            self.taken -= sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def stop(self):
        self.ended = True
        self.join(20)
        return self.taken
