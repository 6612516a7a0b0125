"""Threads for work on schemas and documents that takes longer than a call may hold up others.

They share the interpreter with the calls, so these go on meanwhile, if more slowly. Where one
caller's documents keep these threads busy, nothing but other such work waits for them.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_threads = ThreadPoolExecutor(2, thread_name_prefix="schema")


async def in_schema_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` answers or raises."""
    call = functools.partial(work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads, call)
