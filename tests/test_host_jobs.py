"""``/api/jobs``: what ComfyUI 0.38 answers there, rule by rule."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.host_kit import LocalHost, saved, serving, slow, wait_for

FAIL = {"image": ["1", 0], "message": "boom", "kind": "ValueError"}


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with serving(tmp_path_factory.mktemp("host")) as running:
        yield running


def failing(color: int) -> dict[str, Any]:
    graph = saved(color)
    graph["3"] = {"class_type": "LabFail", "inputs": FAIL}
    graph["9"]["inputs"]["images"] = ["3", 0]
    return graph


def listed(host: LocalHost, query: str = "") -> list[str]:
    return [job["id"] for job in host.get(f"/api/jobs{query}").json["jobs"]]


def running(host: LocalHost) -> str:
    job = host.submit(slow(5, 100))
    wait_for(lambda: host.get("/queue").json["queue_running"])
    return job


def test_a_job_goes_through_its_statuses_and_keeps_its_times(host: LocalHost) -> None:
    long, waiting = running(host), host.submit(saved(1))
    states = {job["id"]: job["status"] for job in host.get("/api/jobs").json["jobs"]}
    assert states == {long: "in_progress", waiting: "pending"}
    host.post("/interrupt", {})
    host.history(waiting)
    bad = host.submit(failing(2))
    host.history(bad)
    jobs = {job["id"]: job for job in host.get("/api/jobs").json["jobs"]}
    assert jobs[long]["status"] == "cancelled"
    done, failed = jobs[waiting], jobs[bad]
    assert (done["status"], done["completion_status"]) == ("completed", "success")
    times = ("create_time", "execution_start_time", "execution_end_time")
    assert [done[name] for name in times] == sorted(done[name] for name in times)
    assert (done["outputs_count"], done["previewable_outputs_count"]) == (1, 1)
    shown = done["preview_output"]
    assert (shown["nodeId"], shown["mediaType"], shown["type"]) == ("9", "images", "output")
    assert (failed["status"], failed["has_errors"]) == ("failed", True)
    assert failed["execution_error"]["exception_type"] == "ValueError"
    assert "preview_output" not in failed, "what has no value is left out"


def test_a_list_is_filtered_sorted_and_cut(host: LocalHost) -> None:
    workflow = {"extra_pnginfo": {"workflow": {"id": "w1"}}}
    first = host.submit(saved(1), extra_data=workflow)
    second, bad = host.submit(slow(0.3, 3)), host.submit(failing(3))
    for job in (first, second, bad):
        host.history(job)
    assert set(listed(host)) == {first, second, bad}
    assert listed(host, "?status=failed") == [bad]
    assert set(listed(host, "?status=COMPLETED,%20cancelled")) == {first, second}
    assert listed(host, "?workflow_id=w1") == [first]
    assert listed(host, "?sort_by=execution_duration")[0] == second
    assert listed(host, "?sort_by=execution_duration&sort_order=asc")[-1] == second
    everything = listed(host)
    answer = host.get("/api/jobs?limit=1&offset=1").json
    assert [job["id"] for job in answer["jobs"]] == everything[1:2]
    assert answer["pagination"] == {"offset": 1, "limit": 1, "total": 3, "has_more": True}
    assert listed(host, "?offset=-5") == everything


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=done", "Invalid status value(s): done. Valid values: pending, in_progress, "),
        ("sort_by=name", "sort_by must be 'created_at' or 'execution_duration'"),
        ("sort_order=up", "sort_order must be 'asc' or 'desc'"),
        ("limit=0", "limit must be a positive integer"),
        ("limit=x", "limit must be an integer"),
        ("offset=x", "offset must be an integer"),
    ],
)
def test_a_query_that_makes_no_sense_is_told_so(host: LocalHost, query: str, sentence: str) -> None:
    answer = host.get(f"/api/jobs?{query}")
    assert answer.status == 400
    assert answer.json["error"].startswith(sentence)


def test_one_job_is_shown_with_all_that_it_made(host: LocalHost) -> None:
    job = host.submit(saved(1, "one"))
    entry = host.history(job)
    shown = host.get(f"/api/jobs/{job}").json
    assert shown["outputs"] == entry["outputs"]
    assert shown["execution_status"] == entry["status"]
    assert shown["workflow"]["prompt"] == entry["prompt"][2]
    assert host.get("/api/jobs/nosuch").status == 404
    assert host.get("/jobs").status == 404, "only below /api, as in ComfyUI"
    long = running(host)
    waiting = host.submit(saved(2))
    assert host.get(f"/api/jobs/{long}").json["status"] == "in_progress"
    assert host.get(f"/api/jobs/{waiting}").json["status"] == "pending"
    host.post(f"/api/jobs/{long}/cancel", {})


def test_pending_and_running_jobs_are_cancelled_and_no_others(host: LocalHost) -> None:
    done = host.submit(saved(1))
    host.history(done)
    long, waiting = running(host), host.submit(saved(2))
    for job in (done, "nosuch"):
        assert host.post(f"/api/jobs/{job}/cancel", {}).json == {"cancelled": False}
    with host.socket("watcher") as me:
        me.frame()
        assert host.post(f"/api/jobs/{waiting}/cancel", {}).json == {"cancelled": True}
        assert me.until("status")["data"]["status"]["exec_info"]["queue_remaining"] == 1
    assert host.post("/api/jobs/cancel", {"job_ids": [done, long]}).json == {"cancelled": True}
    assert host.history(long)["status"]["messages"][-1][0] == "execution_interrupted"
    assert host.get(f"/history/{waiting}").json == {}


@pytest.mark.parametrize("body", [[], {}, {"job_ids": "x"}, {"job_ids": ["x"]}, {"job_ids": [[]]}])
def test_a_batch_that_names_no_jobs_is_refused(host: LocalHost, body: object) -> None:
    assert host.post("/api/jobs/cancel", body).status == 400
    assert host.request("POST", "/api/jobs/cancel", data=b"x").status == 400
