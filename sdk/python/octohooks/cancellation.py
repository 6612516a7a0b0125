"""Telling a cancelled task from a cancelled call."""

import asyncio


def task_is_cancelled() -> bool:
    """Whether the running task is being cancelled. `grpc.aio` raises `CancelledError` also when it
    is only the call that was cancelled, by closing it or its channel."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
