"""Which endpoints have changed lately, so that what was read of them before is read again."""

from collections import OrderedDict
from collections.abc import Collection
from datetime import datetime, timedelta


class Recalls:
    """Remembers changes for as long as a claim that was under way meanwhile can matter."""

    def __init__(self, lease: timedelta) -> None:
        self._lease = lease
        # The longest ago first.
        self._recalled_at: OrderedDict[str, datetime] = OrderedDict()

    def note(self, endpoint_ids: Collection[str], now: datetime) -> None:
        """These endpoints have changed."""
        for id in endpoint_ids:
            self._recalled_at[id] = now
            self._recalled_at.move_to_end(id)
        while self._recalled_at:
            id, at = next(iter(self._recalled_at.items()))
            if at > now - self._lease:
                break
            del self._recalled_at[id]

    def came_after(self, time: datetime, endpoint_id: str) -> bool:
        """Whether the endpoint has changed since."""
        recalled_at = self._recalled_at.get(endpoint_id)
        return recalled_at is not None and recalled_at > time
