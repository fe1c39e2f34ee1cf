# SPDX-License-Identifier: MIT
"""035-draining: a relay is handed its channel's old socket beside the new one. What waits in the
old one is taken first, then what came to the new one; each drop of both is counted once; killed
anywhere, the next relay with the same pair goes on."""
import shutil
import socket
import struct

import pytest
from harness.fleet import LONG, new_folder
from harness.holder import SO_MEMINFO, Holder, make_layout

KILLS = 200 if LONG else 40


@pytest.fixture(scope="module")
def layout():
    folder = new_folder("flotilla-layout-")
    yield make_layout(folder)
    shutil.rmtree(folder)


def dropped(one):
    return struct.unpack("9I", one.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[8]


def squeeze(one):
    """Its queue holds but a few more datagrams from now on."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40000)


def test_035_the_old_socket_first(needs_root, layout):
    with Holder(layout) as holder:
        assert holder.life().code == 0
        holder.send(600)  # no relay is there: they wait
        holder.change_address()
        holder.send(400)
        life = holder.life()
        assert life.code == 0 and holder.is_drained(), life.said
        assert holder.recorded() == list(range(holder.sent))
        assert life.stopped() == (holder.sent + holder.bad, holder.bad, 0, holder.sent, 0)
        assert holder.live == holder.sent
        # Handed the same pair once more, it finds nothing.
        again = holder.life()
        assert again.code == 0 and holder.recorded() == list(range(holder.sent)), again.said


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_035_drops_of_both_are_counted_once(needs_root, layout, offload):
    with Holder(layout) as holder:
        holder.words.append(f"--offload={offload}")
        assert holder.life().code == 0
        squeeze(holder.receive)
        holder.send(300)
        holder.change_address()
        squeeze(holder.receive)
        holder.send(200)
        of_old, of_new = dropped(holder.old), dropped(holder.receive)
        assert of_old > 100 and of_new > 100
        first = holder.life("--kill-entry", 250)  # somewhere in its work
        life = holder.life()
        assert life.code == 0 and holder.is_drained(), first.said + life.said
        received, rejected, lost, recorded, unrecorded = life.stopped()
        assert dropped(holder.old) == of_old
        assert lost == of_old + dropped(holder.receive)
        assert received + lost == holder.sent + holder.bad
        numbers = holder.recorded()
        assert numbers == sorted(set(numbers)) and len(numbers) == recorded
        assert (rejected, unrecorded) == (holder.bad, 0)


@pytest.mark.parametrize("where", ["entry", "exit"])
def test_035_killed_on_the_way(rng, needs_root, layout, where):
    with Holder(layout) as holder:
        calls = sum(holder.life().calls.values())
        kills = again = 0
        for point in sorted(rng.sample(range(1, calls + 100), KILLS)):
            if holder.old is None or holder.is_drained():
                holder.send(100)
                if holder.old:
                    holder.old.close()
                holder.change_address()
            else:
                again += 1
            life = holder.life(f"--kill-{where}", point)
            assert not life.hung, (point, life.hit)
            kills += life.signal == 9
        final = holder.life()
        assert final.code == 0 and holder.is_drained(), final.said
        assert holder.recorded() == list(range(holder.sent))
        assert final.stopped() == (holder.sent + holder.bad, holder.bad, 0, holder.sent, 0)
        print(f"{kills} kills, {again} relays were handed the old socket of one that was killed")
        assert kills >= KILLS * 0.5 and again > 0
