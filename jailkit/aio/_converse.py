"""Two programs that talk to each other, for a task."""

from __future__ import annotations

from jailkit.aio._loop import in_thread, moment
from jailkit.aio._process import Process
from jailkit.process import Conversation, Meeting

__all__ = ["converse"]


async def converse(
    first: Process,
    second: Process,
    *,
    timeout: float,  # noqa: ASYNC109 - a timeout is a result, and not an exception
    transcript_bytes: int = 64 * 1024,
) -> Conversation:
    """Connect two running programs, stdout to stdin both ways, until both have ended; see `jailkit.converse`.

    No thread waits meanwhile. Cancelled, it kills both; they are gone when their ``async with`` blocks are left.

    Args:
        first: A program that was started with ``popen(stdin=PIPE)``, in any jail.
        second: Another one, in the same jail or in another. Both stay the caller's, to be closed.
        timeout: Seconds for the whole, from this call on. Whoever has not ended then is killed: a result with reason
            WALL_TIME, and no exception.
        transcript_bytes: How much of what is said is kept, from its beginning.

    Raises:
        SpecError: They are the same, or one has no pipe as stdin or stdout (any more).
        ClosedError: One of the handles is, or was meanwhile, closed. Any error kills both.
    """
    with Meeting(first.process, second.process, timeout, transcript_bytes) as meeting:
        while not meeting.step():
            if meeting.unsettled:
                await in_thread(meeting.settle)
            await moment(meeting)
        return await in_thread(meeting.conversation)
