"""The view of a load balancer: /readyz, asked all the time."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

import httpx

ASK_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 5.0
IN_A_ROW: Final = 4  # good answers that make it green, so that more than one worker is asked
PATIENCE_SECONDS: Final = 60.0


class _Look(NamedTuple):
    asked: float  # of the loop's clock
    answered: float
    good: bool


class Readiness:
    """Asks through nginx, which asks a second worker if the first is not ready."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/readyz"
        self._clock = asyncio.get_running_loop().time
        self._looks: list[_Look] = []

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as client:
            while True:
                asked = self._clock()
                good = await self._good(client)
                self._looks.append(_Look(asked, self._clock(), good))
                await asyncio.sleep(ASK_SECONDS)

    async def _good(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(self._url)).status_code == 200
        except httpx.HTTPError:
            return False

    def _since(self, moment: float) -> list[_Look]:
        return [look for look in self._looks if look.asked >= moment]

    def red_after(self, moment: float) -> float | None:
        """The seconds from `moment` until the service was first seen red; None if it was not."""
        return next((look.answered - moment for look in self._since(moment) if not look.good), None)

    async def green_after(self, moment: float) -> float | None:
        """Wait until the service is green for good. Gives the seconds from `moment`, or None if that takes too long."""
        while self._clock() < moment + PATIENCE_SECONDS:
            last = self._since(moment)[-IN_A_ROW:]
            if len(last) == IN_A_ROW and all(look.good for look in last):
                return last[0].answered - moment
            await asyncio.sleep(ASK_SECONDS)
        return None
