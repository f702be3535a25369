"""A short torture by the benchmark's own code, and proof that its verdict can say no."""

import shutil
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from tests.chaos_proxy import proxied
from tests.torture.feed import Wanted
from tests.torture.grounds import Site
from tests.torture.hosts import FaultHostProcess
from tests.torture.run import Plan, Torture
from tests.torture.verdict import judge, shows_hash

QUICK = {"host": "grace = 0.5\nsilence = 1.0\nconnect_timeout = 1.0\n"}


@pytest.mark.timeout(240)
def test_nothing_is_lost_or_twice_or_mispaired_when_everything_is_killed_at_random(
    tmp_path: Path,
) -> None:
    host = FaultHostProcess(tmp_path / "host", step_time=0.005)
    host.start()
    try:
        with proxied(host.port) as proxy:
            site = Site(tmp_path / "site", proxy.url, QUICK)
            plan = Plan(jobs=60, kills=10, seed=20, longest=1.5)
            torture = Torture(plan, site, host, proxy, shows_hash)
            try:
                outcome = torture.run()
                assert not outcome.stuck, site.log.read_text()[-3000:]
                assert outcome.verdict.good(), outcome.verdict
                assert sum(outcome.strikes.values()) == 10
                assert outcome.jobs >= 60
                check_that_the_verdict_can_say_no(site, torture.wanted())
            finally:
                site.close()
    finally:
        host.kill()


def check_that_the_verdict_can_say_no(site: Site, wanted: list[Wanted]) -> None:
    one, other, third = site.pictures()[:3]
    shutil.copy(one, one.with_name(f"{one.stem}~2.png"))
    with Image.open(other) as image:
        note = PngImagePlugin.PngInfo()
        note.add_itxt("vulcan", str(image.info["vulcan"]))
        Image.new("RGB", image.size, (1, 2, 3)).save(other, pnginfo=note)
    third.unlink()
    (site.outbox / ".left.png.part").write_bytes(b"")
    next((site.inbox / "done").iterdir()).unlink()
    verdict = judge(site, wanted, shows_hash)
    assert len(verdict.lost) == len(verdict.twice) == len(verdict.wrong) == 1
    assert verdict.scraps == [".left.png.part"]
    assert len(verdict.files) == 1
