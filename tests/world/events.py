# SPDX-License-Identifier: MIT
"""What happens in the world. An event is begun by its function here, which draws what it hits, and
returns a Cause, or None where that cannot be now. A cause lasts until its `undo` has run.

`concerns` are the channels that may not be as they were, `loses` those to which datagrams may be
lost by it: only what comes by a link or an address that is not there. `hampers` are causes behind
which a channel is not back at once from another one: nobody is there to do it, or it is stopped.
`holds` is what no other event may touch at the same time."""
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field

import plan

SETTLED_S = 2.7  # until who holds a channel has been followed, or found hanging, and has all again


@dataclass
class Cause:
    kind: str
    text: str
    lasts_s: float = 0
    undo: object = None
    concerns: set = field(default_factory=set)
    loses: set = field(default_factory=set)
    holds: set = field(default_factory=set)
    hampers: bool = False
    begin_ns: int = 0
    end_ns: int = 0

    def told(self):
        return {"kind": self.kind, "text": self.text, "begin_ns": self.begin_ns,
                "end_ns": self.end_ns, "concerns": sorted(self.concerns),
                "loses": sorted(self.loses), "hampers": self.hampers}


def _names(world, test):
    return {one.name for one in world.channels if test(one)}


def _of_fleet(world, fleet):
    return _names(world, lambda one: one.fleet == fleet)


def _hit(world, pids, number=signal.SIGKILL):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# ---- kill ----

def _keeps(fleet):
    """Two of relay, manager and keeper may die at once, not the third until all is as it was."""
    return {f"keeps {fleet}"}


def kill_relay(world, rng):
    fleet = rng.choice(list(world.fleets))
    relays = world.fleets[fleet].relays()
    if not relays or not world.free(_keeps(fleet)):
        return None
    name = rng.choice(sorted(relays))
    world.relay_deaths[name] += 1
    _hit(world, [relays[name]])
    return Cause("kill", f"relay of {name}", concerns={name}, hampers=True)


def kill_relays(world, rng):
    fleet = rng.choice(list(world.fleets))
    if not world.free(_keeps(fleet)):
        return None
    relays = world.fleets[fleet].relays()
    for name in relays:
        world.relay_deaths[name] += 1
    _hit(world, relays.values())
    return Cause("kill", f"all relays of {fleet}", concerns=_of_fleet(world, fleet), hampers=True)


def kill_often(world, rng):
    """One relay again and again, ten times a second."""
    fleet = rng.choice(list(world.fleets))
    relays = world.fleets[fleet].relays()
    if not relays or not world.free(_keeps(fleet)):
        return None
    name = rng.choice(sorted(relays))
    lasts = rng.uniform(0.5, 3)

    def again():
        pid = world.fleets[fleet].relays().get(name)
        if pid:
            world.relay_deaths[name] += 1
            _hit(world, [pid])
    world.each(0.1, lasts, again)
    return Cause("kill", f"relay of {name} for {lasts:.1f} s", lasts, lambda: None,
                 concerns={name}, holds=_keeps(fleet), hampers=True)


def kill_keeper(world, rng):
    fleet = rng.choice(list(world.fleets))
    if not world.free(_keeps(fleet)):
        return None
    also = rng.random() < 0.5
    relays = world.fleets[fleet].relays() if also else {}
    for name in relays:
        world.relay_deaths[name] += 1
    _hit(world, [*world.fleets[fleet].processes("flotilla-keeper"), *relays.values()])
    return Cause("kill", f"keeper of {fleet}" + also * " and all relays", SETTLED_S, lambda: None,
                 concerns=_of_fleet(world, fleet), holds=_keeps(fleet), hampers=also)


def kill_manager(world, rng):
    fleet = rng.choice([name for name in world.fleets if name not in plan.IMMORTAL])
    if not world.free(_keeps(fleet)):
        return None
    also = rng.choice(["", "", " and all relays", " and keeper"])
    victims = {"": [], " and all relays": list(world.fleets[fleet].relays().values()),
               " and keeper": world.fleets[fleet].processes("flotilla-keeper")}[also]
    if "relays" in also:
        for name in world.fleets[fleet].relays():
            world.relay_deaths[name] += 1
    away = rng.choice([0, rng.uniform(0, 2)])
    world.kill_manager(fleet)
    _hit(world, victims)

    def undo():
        world.start_manager(fleet)
        world.hold(_keeps(fleet), SETTLED_S)
    return Cause("kill", f"manager of {fleet}{also} for {away:.1f} s", away, undo,
                 concerns=_of_fleet(world, fleet), holds=_keeps(fleet), hampers=True)


# ---- hang ----

def hang_relay(world, rng):
    fleet = rng.choice(list(world.fleets))
    relays = world.fleets[fleet].relays()
    if not relays or not world.free(_keeps(fleet)):
        return None
    name = rng.choice(sorted(relays))
    world.relay_deaths[name] += 1
    _hit(world, [relays[name]], signal.SIGSTOP)
    return Cause("hang", f"relay of {name} is stopped", 0.5, lambda: None, concerns={name},
                 hampers=True)


def hang_keeper(world, rng):
    fleet = rng.choice(list(world.fleets))
    if not world.free(_keeps(fleet)):
        return None
    _hit(world, world.fleets[fleet].processes("flotilla-keeper"), signal.SIGSTOP)
    return Cause("hang", f"keeper of {fleet} is stopped", 2 * SETTLED_S, lambda: None,
                 concerns=_of_fleet(world, fleet), holds=_keeps(fleet))


# ---- command ----

def restart(world, rng):
    name = rng.choice(sorted(one.name for one in world.channels))
    world.command(world.of(name).fleet, "restart", name)
    return Cause("command", f"restart {name}", concerns={name})


def restart_all(world, rng):
    """The manager becomes another program: one of the two that may be lost, for a moment."""
    fleet = rng.choice([name for name in world.fleets if name not in plan.IMMORTAL])
    if not world.free(_keeps(fleet)):
        return None
    world.command(fleet, "restart", "--all")
    return Cause("command", f"restart --all in {fleet}", SETTLED_S, lambda: None,
                 concerns=_of_fleet(world, fleet), holds=_keeps(fleet), hampers=True)


def reload(world, rng):
    fleet = rng.choice(list(world.fleets))
    about = world.fleets[fleet]
    about.storage["sync"] = rng.choice(["50ms", "100ms", "200ms", "500ms"])
    name = rng.choice(sorted(about.channels))
    about.channels[name]["ttl"] = rng.randint(1, 9)
    about.write()
    world.command(fleet, "reload")
    return Cause("command", f"reload {fleet}", concerns=_of_fleet(world, fleet))


# ---- link ----

def _away(world, link, kind, lasts, channels, *, go, come, what, holds=()):
    """A cause that takes something of a link away by `go`, and brings it back by `come`."""
    go()

    def undo():
        come()
        world.network.wait_until_works(link)
    return Cause(kind, f"{what} for {lasts:.2f} s", lasts, undo, concerns=channels, loses=channels,
                 holds={link, *holds}, hampers=True)


def _link(world, link, lasts, go, come, what, holds=()):
    mine = _names(world, lambda one: one.link == link)
    return _away(world, link, "link", lasts, mine, go=go, come=come, what=f"{link} is {what}",
                 holds=holds)


def remake_link(world, rng):
    link = rng.choice(plan.LINKS)
    if not world.free({link}):
        return None
    lasts = rng.choice([0, rng.uniform(0, 0.3), rng.uniform(0.3, 4)])
    return _link(world, link, lasts, lambda: world.network.remove(link),
                 lambda: world.network.make(link), "removed")


def switch_link(world, rng):
    link = rng.choice(plan.LINKS)
    if not world.free({link}):
        return None
    lasts = rng.choice([0, rng.uniform(0, 3)])
    return _link(world, link, lasts, lambda: world.network.switch_off(link),
                 lambda: world.network.switch_on(link), "off")


def rename_link(world, rng):
    link = rng.choice(plan.LINKS)
    if not world.free({link}):
        return None
    lasts = rng.choice([0, rng.uniform(0, 3)])
    return _link(world, link, lasts, lambda: world.network.rename(link, "other0"),
                 lambda: world.network.rename("other0", link), "renamed", holds=plan.LINKS)


# ---- address ----

def lose_address(world, rng):
    link = rng.choice(plan.LINKS)
    if not world.free({link}):
        return None
    lasts = rng.choice([0, rng.uniform(0, 0.5), rng.uniform(0.5, 4)])
    mine = _names(world, lambda one: one.moving == plan.MOVING[link])
    return _away(world, link, "address", lasts, mine, go=lambda: world.network.disappear(link),
                 come=lambda: world.network.appear(link), what=f"{plan.MOVING[link]} is away")


# ---- folder ----

def _folder(world, rng):
    fleet = rng.choice(list(world.fleets))
    return fleet, {"concerns": _of_fleet(world, fleet), "holds": {f"folder {fleet}"}}


def unmount(world, rng):
    fleet, about = _folder(world, rng)
    if not world.free(about["holds"]):
        return None
    lasts = rng.choice([0, rng.uniform(0, 0.5), rng.uniform(0.5, 4)])
    world.unmount(fleet)
    return Cause("folder", f"{fleet}'s disk is unmounted for {lasts:.2f} s", lasts,
                 lambda: world.mount(fleet), **about)


def cover(world, rng):
    """Another disk is mounted over it."""
    fleet, about = _folder(world, rng)
    if not world.free(about["holds"] | {"spare"}):
        return None
    lasts = rng.uniform(0.2, 4)
    about["holds"] = about["holds"] | {"spare"}
    world.mount(fleet, "spare")
    return Cause("folder", f"another disk stands over {fleet}'s for {lasts:.2f} s", lasts,
                 lambda: world.unmount(fleet), **about)


def move_away(world, rng):
    """A channel's folder is given another name, as by somebody who makes room."""
    channel = rng.choice([one for one in world.channels if one.recorded])
    fleet = channel.fleet
    folder = world.pool(fleet) / "rec" / channel.name
    holds = {f"folder {fleet}"}
    if not world.free(holds | {f"disk {fleet}"}) or not folder.is_dir():  # a frozen one waits
        return None
    world.attic += 1
    folder.rename(world.pool(fleet) / f"attic-{world.attic}-{channel.name}")
    return Cause("folder", f"{channel.name}'s folder is moved away", concerns={channel.name},
                 holds=holds)


# ---- disk ----

def _disk(world, rng):
    fleet = rng.choice(list(world.fleets))
    return fleet, {"concerns": _of_fleet(world, fleet), "holds": {f"disk {fleet}"},
                   "hampers": True}


def throttle(world, rng):
    fleet, about = _disk(world, rng)
    if not world.free(about["holds"]):
        return None
    lasts = rng.uniform(0.5, 6)
    disk = world.disks[fleet]
    if rng.random() < 0.5:
        rate = rng.choice([1, 2, 5, 20])
        disk.throttle(bytes_per_s=rate << 20)
        text = f"{rate} MiB/s"
    else:
        rate = rng.choice([50, 100, 200])
        disk.throttle(writes_per_s=rate)
        text = f"{rate} writes/s"
    return Cause("disk", f"{fleet}'s disk does {text} for {lasts:.1f} s", lasts, disk.throttle,
                 **about)


def freeze(world, rng):
    fleet, about = _disk(world, rng)
    if not world.free(about["holds"]):
        return None
    lasts = rng.uniform(0.1, 3)
    world.disks[fleet].freeze()
    return Cause("disk", f"{fleet}'s disk is frozen for {lasts:.1f} s", lasts,
                 world.disks[fleet].thaw, **about)


def fill(world, rng):
    fleet, about = _disk(world, rng)
    if not world.free(about["holds"]):
        return None
    lasts = rng.uniform(0.2, 3)
    path = world.pool(fleet) / "ballast"
    world.fill(fleet, path)
    return Cause("disk", f"{fleet}'s disk is full for {lasts:.1f} s", lasts, path.unlink, **about)


# ---- clock ----

STEPS_S = (0.05, 0.2, 1, 5, 61, 3600, 3 * 3600, 86400, 20 * 365 * 86400)


def step_clock(world, rng):
    """Forward or back, from wherever it is; half of the time back to the true time."""
    step = rng.choice(STEPS_S) * rng.uniform(0.5, 1.5) * rng.choice([-1, 1])
    offset = 0 if world.clock.offset_ns and rng.random() < 0.5 else \
        world.clock.offset_ns + int(step * 1e9)
    if abs(offset) > 30 * 365 * 86400 * 10**9:
        offset = 0
    world.clock.step(offset)
    return Cause("clock", f"the clock is {offset / 1e9:+.2f} s off",
                 concerns={one.name for one in world.channels})


TABLE = {
    "kill": [kill_relay, kill_relays, kill_often, kill_keeper, kill_manager],
    "hang": [hang_relay, hang_keeper],
    "command": [restart, restart_all, reload],
    "link": [remake_link, remake_link, switch_link, rename_link],
    "address": [lose_address],
    "folder": [unmount, cover, move_away],
    "disk": [throttle, throttle, freeze, fill],
    "clock": [step_clock],
}


def begin(world, rng, kinds):
    """Begins an event of one of the kinds; the cause, or None."""
    kind = rng.choice(kinds)
    begun = time.monotonic_ns()
    cause = rng.choice(TABLE[kind])(world, rng)
    if cause is not None:
        cause.begin_ns = begun
    return cause
