"""Whether one host can run a job: its graph held against what the host offers.

Asked once for each kind of job, and again now and then while jobs wait for something the host
lacks: a LoRA copied into its folder shows up without a restart. What the pair itself needs (unet,
text encoders, VAE) is waited for, since the whole run depends on it; anything else that no host
has, graphics memory for the size included, fails the job.
"""

import logging
from collections.abc import Callable

from bridge import check
from bridge.catalogue import Catalogue
from bridge.client import HostClient
from bridge.graph_problem import Kind, Problem
from bridge.workflow import Workflow
from core.fitness import Fitness
from core.job import Job

logger = logging.getLogger(__name__)

ASK_AGAIN = 10.0  # seconds between looks at a host that lacks something


class Suitability:
    """One host's fitness for jobs.

    Args:
        name: the host's, in the run.
        client: asked for what it offers.
        fitness: told what it lacks.
        clock: seconds, monotonic.
        lacks_memory: returns why its card cannot hold a filled workflow; empty where it can.
    """

    def __init__(
        self,
        name: str,
        client: HostClient,
        fitness: Fitness,
        clock: Callable[[], float],
        lacks_memory: Callable[[Workflow], str] = lambda graph: "",
    ) -> None:
        self._name, self._client, self._fitness, self._clock = name, client, fitness, clock
        self._lacks_memory = lacks_memory
        self._catalogue: Catalogue | None = None
        self._asked = 0.0
        self._fit: set[str] = set()
        self._as_spelled: set[str] = set()  # kinds that are written here as we write them
        self._unfit: dict[str, str] = {}
        self._said: dict[str, str] = {}

    def unfit(self) -> list[str]:
        """Return the kinds of jobs this host cannot run now."""
        return list(self._unfit)

    def lacks(self) -> str:
        """Return what it lacks for the first of them; empty when it lacks nothing."""
        return next(iter(self._unfit.values()), "")

    def respelled(self, job: Job, graph: Workflow) -> Workflow:
        """Return the job's graph with file names as this host spells them."""
        if job.needs in self._as_spelled:
            return graph
        spelled = check.respelled(graph, self._known())
        if spelled == graph:
            self._as_spelled.add(job.needs)
        return spelled

    def fits(self, job: Job, graph: Workflow) -> bool:
        """Tell whether the host can run the job.

        Raises:
            HostError: it does not answer.
        """
        if job.needs in self._fit:
            return True
        known = self._known()
        problems = check.check(check.respelled(graph, known), known)  # as it will be posted
        lacks = "; ".join(map(str, problems)) or self._lacks_memory(graph)
        if not lacks:
            self._fit.add(job.needs)
        else:
            self._unfit[job.needs] = lacks
            if self._said.get(job.needs) != lacks:
                self._said[job.needs] = lacks
                logger.warning("host %s cannot run %s: %s", self._name, job.name, lacks)
        waits = problems and all(_is_of_pair(problem, graph, job) for problem in problems)
        self._fitness.note(self._name, job.needs, "" if waits else lacks)
        return not lacks

    def due(self) -> float | None:
        """Return when to ask the host again; ``None`` while it lacks nothing."""
        return self._asked + ASK_AGAIN if self._unfit else None

    def ask_again(self) -> None:
        """Forget what it lacked, so that its jobs are looked at anew."""
        self._catalogue = None
        self._unfit.clear()

    def _known(self) -> Catalogue:
        if self._catalogue is None:
            self._catalogue = self._client.object_info()
            self._asked = self._clock()
        return self._catalogue


def _is_of_pair(problem: Problem, graph: Workflow, job: Job) -> bool:
    """Tell whether a missing file is one that the whole run depends on."""
    if problem.kind is not Kind.MODEL:
        return False
    request = job.request
    missing = graph[problem.node]["inputs"].get(problem.input)
    return missing in (request.unet, *request.text_encoders, request.vae)
