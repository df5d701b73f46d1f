"""A container's log shown to a descriptor, in a thread of its own: a reader that follows may be there for days."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from gasang.core.errors import NotFoundError
from gasang.daemon.containers.process import Exit
from gasang.daemon.containers.streams import LogRequest
from gasang.kinds.container.supervisor.logs import LogReader, OutputGone


async def show(log: Path, wanted: LogRequest, output: int, prefix: bytes, ended: asyncio.Future[Exit] | None) -> None:
    """Write what is wanted of a log to `output`, `prefix` before each entry.

    One that is followed ends when `ended` is done, and at once where that is None. A log that is not there shows nothing; an output that
    goes away ends it.
    """
    loop = asyncio.get_running_loop()
    follows = wanted.follow and ended is not None
    try:
        reader = LogReader(
            log.parent,
            log.name,
            output,
            stdout=wanted.stdout,
            stderr=wanted.stderr,
            multiplexed=wanted.multiplexed,
            timestamps=wanted.timestamps,
            since=wanted.since,
            until=wanted.until,
            tail=wanted.tail if wanted.tail >= 0 else None,
            follow=follows,
            prefix=prefix,
        )
    except NotFoundError:
        return
    stop = os.eventfd(0, os.EFD_CLOEXEC)
    done: asyncio.Future[None] = loop.create_future()

    def work() -> None:
        error: BaseException | None = None
        try:
            reader.run(stop)
        except OutputGone:
            pass
        except OSError as fault:
            error = fault
        finally:
            loop.call_soon_threadsafe(_finish, done, error)

    def finish(_: object = None) -> None:
        os.eventfd_write(stop, 1)

    if ended is not None:
        ended.add_done_callback(finish)
    thread = threading.Thread(target=work, name="log", daemon=True)
    thread.start()
    try:
        await asyncio.shield(done)
    except asyncio.CancelledError:
        finish()
        await done
        raise
    finally:
        if ended is not None:
            ended.remove_done_callback(finish)
        thread.join()
        reader.close()
        os.close(stop)


def _finish(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
