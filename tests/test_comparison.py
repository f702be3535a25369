from dataclasses import replace

from bridge.request import LoraChoice
from core import comparison
from core.a1111 import Place
from core.comparison import Here, Verdict
from core.provenance import Hashes, Provenance
from core.record import Record
from tests.sample_request import REQUEST

ASKED = replace(REQUEST, loras=(LoraChoice("l", 1),))
HASHES = Hashes(
    "aa", {"l": "bb"}, {"c.safetensors": "cc", "t.safetensors": "tt"}, {"v.safetensors": "dd"}
)
SOFTWARE = {"pytorch": "2.9", "device": "cuda:0", "os": "nt", "python": "3.12"}
MADE = Provenance(HASHES, "ee", "ComfyUI 0.3.64", SOFTWARE)
RECORD = Record(ASKED, MADE, Place(), "0.1.0")


def verdicts(hashes: Hashes, workflow: str = "ee") -> dict[str, Verdict]:
    return {f.what: f.verdict for f in comparison.with_files(RECORD, Here(hashes, workflow))}


def test_the_same_files_are_the_same_and_stop_nothing() -> None:
    findings = comparison.with_files(RECORD, Here(HASHES, "ee"))
    assert {f.verdict for f in findings} == {Verdict.SAME}
    assert not any(f.stops for f in findings)
    assert len(findings) == 6


def test_another_or_a_missing_unet_or_lora_stops() -> None:
    for hashes in (
        replace(HASHES, unet="other"),
        replace(HASHES, unet=""),
        replace(HASHES, loras={"l": "other"}),
        replace(HASHES, loras={}),
    ):
        stopping = [f for f in comparison.with_files(RECORD, Here(hashes, "ee")) if f.stops]
        assert len(stopping) == 1


def test_another_vae_or_workflow_is_told_and_a_missing_workflow_stops() -> None:
    assert verdicts(replace(HASHES, vae={"v.safetensors": "x"}))["vae v.safetensors"] == "differs"
    assert verdicts(HASHES, "x")["workflow txt2img"] == "differs"
    missing = comparison.with_files(RECORD, Here(HASHES, ""))[-1]
    assert missing.stops


def test_what_was_not_recorded_is_unknown_unless_it_is_not_here() -> None:
    old = replace(RECORD, provenance=Provenance(Hashes("aa"), "", "ComfyUI 1"))
    found = {f.what: f for f in comparison.with_files(old, Here(HASHES, "ee"))}
    assert found["vae v.safetensors"].verdict is Verdict.UNKNOWN
    assert found["lora l"].verdict is Verdict.UNKNOWN
    assert not found["lora l"].stops
    gone = {f.what: f for f in comparison.with_files(old, Here(replace(HASHES, loras={}), "ee"))}
    assert gone["lora l"].verdict is Verdict.MISSING


def test_the_new_record_tells_of_host_and_settings() -> None:
    now = replace(
        RECORD,
        request=replace(ASKED, steps=5, template="{a|b}", asked=("steps",)),
        provenance=replace(MADE, host="ComfyUI 0.4", software={**SOFTWARE, "pytorch": "2.10"}),
    )
    findings = comparison.with_record(RECORD, now)
    assert comparison.causes(findings) == ["steps", "host", "pytorch"]
    assert "then 2.9, now 2.10" in str(next(f for f in findings if f.what == "pytorch"))


def test_both_looks_together_tell_each_item_once_and_the_later_counts() -> None:
    before = comparison.with_files(RECORD, Here(replace(HASHES, unet="other"), "ee"))
    silent = replace(RECORD, provenance=replace(MADE, hashes=replace(HASHES, vae={})))
    after = comparison.with_record(RECORD, silent)
    both = {f.what: f.verdict for f in comparison.merged(before, after)}
    assert both["unet x.gguf"] is Verdict.SAME
    assert both["vae v.safetensors"] is Verdict.SAME
    assert len(both) == len(comparison.merged(before, after))
