"""The stand-in's answers: a method's name and its JSON in, JSON out.

Field names are those of kagglesdk 0.1.37 (``kagglesdk/*/types``), which the real client reads.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.kaggle_stand_in.kaggle_site import TOKEN, USER, KaggleKernel, Refused, Site, Version

Table = dict[str, Any]


def answer(site: Site, method: str, request: Table, address: str) -> Table:
    """Answer one call.

    Raises:
        Refused: Kaggle would, or there is no such method.
    """
    if method == "ListKernelSessionOutput":
        return _outputs(site, request, address)
    if method == "StartBlobUpload":
        token = site.start_blob(str(request["name"]), int(request.get("contentLength", 0)))
        return {"token": token, "createUrl": f"{address}/upload/{token}"}
    if method not in _ANSWERS:
        raise Refused(404, f"the stand-in has no {method}")
    return _ANSWERS[method](site, request)


def log(version: Version) -> list[Table]:
    """Return a run's log as Kaggle keeps it."""
    return [
        {"stream_name": "stdout", "time": float(number), "data": line}
        for number, line in enumerate(version.log)
    ]


def _introspect(_: Site, request: Table) -> Table:
    known = request.get("token") == TOKEN
    return {"active": known, "username": USER if known else ""}


def _create_dataset(site: Site, request: Table) -> Table:
    site.create_dataset(request)
    return {"status": "ok", "ref": f"{USER}/{request['slug']}", "error": ""}


def _create_version(site: Site, request: Table) -> Table:
    site.new_dataset_version(str(request["datasetSlug"]), request["body"])
    return {"status": "ok", "ref": f"{USER}/{request['datasetSlug']}", "error": ""}


def _dataset_files(site: Site, request: Table) -> Table:
    made = site.dataset(str(request["datasetSlug"]))
    names = sorted(made.versions[-1]) if site.is_ready(made) else []
    page, token = _page(site, names, request)
    files = [{"name": name, "totalBytes": made.versions[-1][name].stat().st_size} for name in page]
    return {"datasetFiles": files, "nextPageToken": token}


def _datasets(site: Site, _: Table) -> Table:
    return {
        "datasets": [
            {"ref": f"{USER}/{made.slug}", "title": made.title, "isPrivate": made.private}
            for made in site.datasets.values()
        ]
    }


def _kernels(site: Site, _: Table) -> Table:
    return {"kernels": [_metadata(kernel) for kernel in site.kernels.values()]}


def _kernel(site: Site, request: Table) -> Table:
    return {"metadata": _metadata(site.kernel(str(request["kernelSlug"]))), "blob": {}}


def _metadata(kernel: KaggleKernel) -> Table:
    return {
        "id": kernel.number,
        "ref": f"{USER}/{kernel.slug}",
        "title": kernel.title,
        "author": USER,
        "slug": kernel.slug,
        "isPrivate": kernel.private,
        "currentVersionNumber": len(kernel.versions),
    }


def _status(site: Site, request: Table) -> Table:
    version = site.kernel(str(request["kernelSlug"])).versions[-1]
    return {"status": version.state, "failureMessage": version.message or None}


def _quota(site: Site, _: Table) -> Table:
    behaviour = site.behaviour
    return {
        "quotaRefreshTime": "2026-11-28T00:00:00.000Z",
        "gpuQuota": {
            "timeUsed": f"{int(behaviour.gpu_hours_used * 3600)}s",
            "totalTimeAllowed": f"{int(behaviour.gpu_hours * 3600)}s",
        },
    }


def _outputs(site: Site, request: Table, address: str) -> Table:
    slug = str(request["kernelSlug"])
    version = site.kernel(slug).versions[-1]
    names = [path.relative_to(version.working).as_posix() for path in version.output()]
    page, token = _page(site, [*names, *site.outside_listing], request)
    return {
        "files": [
            {
                "fileName": name,
                "url": f"{address}/output/{slug}/{version.number}/{quote(name)}?signature=secret",
            }
            for name in page
        ],
        "log": json.dumps(log(version)) if version.over else "",
        "nextPageToken": token,
    }


def _page(site: Site, names: list[str], request: Table) -> tuple[list[str], str]:
    start = int(request.get("pageToken") or 0)
    end = start + min(int(request.get("pageSize") or 20), site.behaviour.page)
    return names[start:end], str(end) if end < len(names) else ""


_ANSWERS: dict[str, Callable[[Site, Table], Table]] = {
    "IntrospectToken": _introspect,
    "GetDatasetStatus": lambda site, request: {
        "status": site.dataset_status(str(request["datasetSlug"]))
    },
    "CreateDataset": _create_dataset,
    "CreateDatasetVersion": _create_version,
    "ListDatasetFiles": _dataset_files,
    "ListDatasets": _datasets,
    "ListKernels": _kernels,
    "GetKernel": _kernel,
    "SaveKernel": lambda site, request: site.save_kernel(request),
    "GetKernelSessionStatus": _status,
    "GetAcceleratorQuotaStatistics": _quota,
}
