"""Volumes and backups: snapshot and clone of a volume of 20 GiB, and what an incremental backup of it reads.

python bench/volumes.py [--written 1024] [--changed 100] [--runs N] [--scratch DIR] [--machine] [--write-readme]

The volume holds ext4 and some noise. Each run writes 4 KiB, flushes, and then takes a snapshot (a clone), on stable storage when the clock
stops. Beside it `qemu-img snapshot -c` of the same disk in one image, which is synced too, less the time of `qemu-img --version`.
The backups go to a folder on the same disk. With --machine a Debian guest (`gasang pull debian:trixie`) has a volume of 20 GiB, and is
forked and kept: while it is idle, and while it writes to the volume, and syncs it, all the time.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import figures
import peers
import readme
from figures import Figure, Target

from gasang.storage.backup.manifest import Manifest, Object
from gasang.storage.backup.objects import keep_disk, restore_disk, verify
from gasang.storage.backup.repository import Repository
from gasang.storage.images.conversion import difference
from gasang.storage.volumes import layers
from gasang.storage.volumes.folder import clone, create, heir
from gasang.storage.volumes.volume import Volume

SIZE = 20 << 30
MIB = 1 << 20
AT_MOST = Target("≤", 20, "ours")
READS = Target("≤", 110, "ours")


def timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


def snapshots(volume: Volume, scratch: Path, runs: int) -> list[Figure]:
    """A snapshot and a clone of a volume that was just written to."""
    taken: dict[str, list[float]] = {"snapshot": [], "clone": []}
    least = []
    for number in range(runs):
        os.sync()
        least.append(timed(lambda: write_whole(scratch / "small")))
        for name, times in taken.items():
            volume.write((number * 2 + (name == "clone")) * MIB, os.urandom(4096))
            volume.flush()
            os.sync()
            if name == "snapshot":
                times.append(timed(lambda number=number: volume.snapshot(f"s{number}")))
                continue
            copy = scratch / f"copy{number}"
            times.append(timed(lambda copy=copy: clone(volume.folder, volume.freeze(), volume.size, copy)))
            shutil.rmtree(copy)
        volume.forget(f"s{number}")
    peer = internal(volume, scratch, runs)
    return [
        Figure("a file of 4 KiB replaced, synced", "ms", None, figures.middle(least), note=f"the disk's own; best {min(least):.1f}"),
    ] + [
        Figure(f"{name} of 20 GiB", "ms", peer if name == "snapshot" else None, figures.middle(times), target=AT_MOST,
               note=f"best {min(times):.1f}, worst {max(times):.1f}")
        for name, times in taken.items()
    ]  # fmt: skip


def write_whole(path: Path) -> None:
    """What a change costs that is whole or has not been: a file synced, renamed, and its folder synced."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(os.urandom(4096))
    layers.sync_file(fresh)
    fresh.replace(path)
    layers.sync_file(path.parent)


def internal(volume: Volume, scratch: Path, runs: int) -> float | None:
    """The same with snapshots in one image, by qemu-img."""
    image = scratch / "whole.qcow2"
    top = volume.folder / volume.record.file(volume.freeze())
    subprocess.run(["qemu-img", "convert", "-U", "-O", "qcow2", top, image], check=True)
    start = figures.middle([timed(lambda: subprocess.run(["qemu-img", "--version"], check=True, stdout=subprocess.DEVNULL))] * 3) or 0
    times = []
    for number in range(runs):
        os.sync()
        times.append(timed(lambda number=number: subprocess.run(["qemu-img", "snapshot", "-c", f"s{number}", image], check=True)) - start)
    image.unlink()
    return figures.middle(times)


def backups(volume: Volume, scratch: Path, changed: int) -> list[Figure]:
    """A backup of everything, and one of what has changed since; the latter is verified, restored and compared."""
    folder, place = volume.folder, scratch / "backups"
    found: list[Figure] = []
    base: Object | None = None
    layer = ""
    for name in ("full", "incremental"):
        former, layer = layer, volume.freeze()
        with Repository.open(place, writes=True, make=True) as repository:
            begin = time.perf_counter()
            with closing(layers.open_chain(folder, volume.record, layer, read_only=True)) as disk:
                runs = layers.changes(folder, volume.record, layer, former) if former else list(disk.data())
                base, read = keep_disk(repository, "disk", disk, runs, {"layer": layer}, base)
            repository.commit(Manifest(name, "data", "volume", "", (base,)))
            seconds = time.perf_counter() - begin
            note = f"{seconds:.1f} s, {repository.stored / MIB:.0f} MiB stored"
        target = READS if name == "incremental" else None
        found.append(Figure(f"{name} backup of 20 GiB: read", "MiB", None, read / MIB, target=target, note=note))
        if name == "full":
            rng = random.Random(7)
            for _ in range(changed):
                volume.write(rng.randrange(SIZE // MIB) * MIB, rng.randbytes(MIB))
            volume.flush()
    assert base is not None
    create(scratch / "again", SIZE)
    with Repository.open(place) as repository, closing(Volume.open(scratch / "again")) as again:
        seconds = timed(lambda: verify(repository, base)) / 1000
        found.append(Figure("verifying it", "s", None, seconds))
        seconds = timed(lambda: restore_disk(repository, base, again)) / 1000
        found.append(Figure("restoring it to a new volume", "s", None, seconds))
        again.flush()
        with (
            closing(layers.open_chain(folder, volume.record, layer, read_only=True)) as kept,
            closing(layers.open_chain(again.folder, again.record, again.freeze(), read_only=True)) as restored,
        ):
            assert difference(kept, restored) is None, "what was restored is another disk"
    return found


def pauses(scratch: Path, runs: int) -> list[Figure]:
    """How long a guest with a volume stands still for a twin, and for a snapshot."""
    from bench.pauses import BOUND, Stopwatch

    from gasang.kinds.vm.extras import Extras
    from gasang.kinds.vm.volumes import AttachedVolume, bequeathed, share
    from support.debian_guest import debian_at_its_prompt

    create(scratch / "machine", SIZE)
    volume = AttachedVolume(scratch / "machine", "/data")
    found = []
    with debian_at_its_prompt(extras=Extras(volumes=(volume,))) as (vm, screen):
        screen.ask("true")
        watch = Stopwatch(vm)
        for doing, script in (("idle", "sync"), ("writing and syncing", "{ while :; do date >>/data/log; sync /data/log; done & }")):
            screen.ask(script)
            whole = []
            for number in range(runs):
                twin = scratch / f"twin{number}"
                whole.append(timed(lambda twin=twin: heir(volume.folder, **begin_of(share(vm)), folder=twin)))
                with bequeathed(vm, {str(volume.folder): str(twin)}), vm.fork(lambda forked: 0) as made:
                    made.wait()
                shutil.rmtree(twin)
            note = f"longest of {runs} {max(watch.pauses):.1f}; the clone before {figures.middle(whole):.1f}"
            pause = figures.middle(watch.pauses)
            found.append(Figure(f"fork of a guest with a volume, {doing}: its pause", "ms", None, pause, target=BOUND, note=note))
            watch.pauses.clear()
            vm.snapshot(scratch / "snapshots", doing.split()[0])
            found.append(Figure(f"snapshot of it, {doing}: its pause", "ms", None, figures.middle(watch.pauses)))
            watch.pauses.clear()
    return found


def begin_of(shared: dict[str, dict[str, object]]) -> dict[str, object]:
    """Layer and size of the only volume."""
    [told] = shared.values()
    return {"layer": told["Layer"], "size": told["Size"]}


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--written", type=int, default=1024, help="MiB of noise on the volume")
    parser.add_argument("--changed", type=int, default=100, help="MiB changed between the backups")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--scratch", type=Path, help="where the files lie (default: the temporary folder)")
    parser.add_argument("--machine", action="store_true", help="a guest with a volume, too")
    parser.add_argument("--write-readme", action="store_true")
    options = parser.parse_args()
    if not shutil.which("qemu-img"):
        sys.exit("qemu-img is missing: install qemu-utils")
    machine = {**peers.host(), "load before": peers.load()}
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scratch = Path(name)
        create(scratch / "data", SIZE)
        with closing(Volume.open(scratch / "data")) as volume:
            volume.format("data")
            rng = random.Random(6)
            for at in rng.sample(range(SIZE // MIB), options.written):
                volume.write(at * MIB, rng.randbytes(MIB))
            volume.flush()
            found = [*snapshots(volume, scratch, options.runs), *backups(volume, scratch, options.changed)]
        found += pauses(scratch, options.runs) if options.machine else []
    print(figures.as_text(found, "qemu-img"))
    if options.write_readme:
        readme.write("bench/volumes.py", figures.as_markdown(found, "qemu-img"), {**machine, "load after": peers.load()})


if __name__ == "__main__":
    main()
