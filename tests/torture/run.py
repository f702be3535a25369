"""One torture from start to verdict: feed, strike, watch, judge."""

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos_proxy import ChaosProxy
from tests.torture.chaos import Chaos, Kind
from tests.torture.feed import Feed, Wanted
from tests.torture.grounds import Site
from tests.torture.hosts import HostProcess
from tests.torture.verdict import Shows, Verdict, judge

LEAD = 30  # pictures asked for and not made yet, so that there is always work
TICK = 0.02  # seconds between two looks
PATIENCE = 90.0  # seconds without a picture before a torture is given up
ALONE = 0.75  # share of strikes after which the next waits for a picture


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it.

    Attributes:
        jobs: pictures to ask for, at least.
        kills: strikes, the full disk included.
        seed: of all that is left to chance.
        longest: seconds that a host stays away at the most.
        disk: whether the disk is filled once.
    """

    jobs: int
    kills: int
    seed: int
    longest: float = 4.0
    disk: bool = True


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        verdict: what is wrong.
        jobs: pictures asked for.
        strikes: how many, by kind.
        resumed: seconds from the end of the trouble to the next picture, by kind.
        saves: pictures the host wrote; ``None`` where unknown.
        ended_alone: directors that ended by themselves.
        seconds: the whole of it.
        stuck: it was given up for want of progress.
    """

    verdict: Verdict
    jobs: int
    strikes: Counter[Kind]
    resumed: dict[Kind, list[float]]
    saves: int | None
    ended_alone: int
    seconds: float
    stuck: bool

    def slowest(self) -> float:
        """Return the longest time to the next picture."""
        return max((max(times) for times in self.resumed.values() if times), default=0.0)


@dataclass
class Torture:
    """Runs a plan."""

    plan: Plan
    site: Site
    host: HostProcess
    proxy: ChaosProxy
    shows: Shows
    seeds_told: bool = False
    resumed: dict[Kind, list[float]] = field(default_factory=dict)
    strikes: Counter[Kind] = field(default_factory=Counter)
    stuck: bool = False

    def run(self) -> Outcome:
        """Do it all; the host runs already."""
        since = time.monotonic()
        self._chance = random.Random(self.plan.seed)
        self._feed = Feed(self.site.inbox, self._chance, self.seeds_told)
        self._chaos = Chaos(self.site, self.host, self.proxy, self._chance, self.plan.longest)
        try:
            self._strike_all()
            self._finish()
        finally:
            if self._chaos.director.alive():
                self._chaos.director.kill()
        verdict = judge(self.site, self._feed.wanted, self.shows)
        return Outcome(
            verdict=verdict,
            jobs=len(self._feed.wanted),
            strikes=self.strikes,
            resumed=self.resumed,
            saves=self.host.saves(),
            ended_alone=self._chaos.ended_alone,
            seconds=time.monotonic() - since,
            stuck=self.stuck,
        )

    def _strike_all(self) -> None:
        disk_at = self._chance.randrange(self.plan.kills) if self.plan.disk else -1
        for number in range(self.plan.kills):
            self._wait_for(number * max(1, self.plan.jobs - LEAD) // self.plan.kills)
            self._rest(self._chance.uniform(0.0, 0.25))
            self._strike(Kind.DISK if number == disk_at else self._chaos.draw())
            if self.stuck:
                return

    def wanted(self) -> list[Wanted]:
        """Return what was asked for."""
        return self._feed.wanted

    def _strike(self, kind: Kind) -> None:
        self.strikes[kind] += 1
        self._chaos.strike(kind)
        back, before = time.monotonic(), self.site.made()
        more = before < self.plan.jobs  # a late strike may find all made
        if self._chance.random() < ALONE and more and self._wait_for(before + 1):
            self.resumed.setdefault(kind, []).append(time.monotonic() - back)

    def _wait_for(self, pictures: int) -> bool:
        """Feed and watch until so many pictures are there; ``False`` when none come any more."""
        last, made = time.monotonic(), self.site.made()
        while not self.stuck and made < pictures:
            self._tick()
            now_made = self.site.made()
            if now_made != made:
                last, made = time.monotonic(), now_made
            self.stuck = time.monotonic() - last > PATIENCE
        return not self.stuck

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._tick()

    def _tick(self) -> None:
        self._chaos.look_after()
        wanted = len(self._feed.wanted)
        if wanted < self.plan.jobs and wanted - self.site.made() < LEAD:
            self._feed.drop(self.plan.jobs - wanted)
        time.sleep(TICK)

    def _finish(self) -> None:
        """Wait until all is made and settled, then end the director as a user would."""
        while not self.stuck and len(self._feed.wanted) < self.plan.jobs:
            self._tick()
        self._wait_for(len(self._feed.wanted))
        end = time.monotonic() + 20
        while time.monotonic() < end and self._unsettled():
            self._chaos.look_after()
            time.sleep(TICK)
        self._rest(0.5)  # a picture made twice would come now
        self._chaos.director.end()

    def _unsettled(self) -> bool:
        claimed = self.site.inbox / ".claimed"
        return claimed.is_dir() and any(claimed.iterdir())
