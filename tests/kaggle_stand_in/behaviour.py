"""What the stand-in does otherwise than Kaggle on a good day, on order."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Fault:
    """One way in which requests go wrong.

    Attributes:
        where: part of the path of the requests it befalls.
        times: how many of them.
        status: answered instead, with ``words``; 0 cuts the connection.
        words: Kaggle's message.
        headers: of that answer.
        after: bytes of the body (sent or taken) before the cut; None cuts before anything is done.
        late: cut when the work is done: it arrived, but the client does not hear of it.
        skip: requests that pass before.
    """

    where: str
    times: int = 1
    status: int = 0
    words: str = "Service unavailable"
    headers: dict[str, str] = field(default_factory=dict)
    after: int | None = None
    late: bool = False
    skip: int = 0


@dataclass(slots=True)
class Behaviour:
    """Switches; a test sets them.

    Attributes:
        gpu: which machine a run gets; a notebook's runner may ask for it.
        gpu_hours: of a week.
        gpu_hours_used: of these.
        phone_verified: whether the account may use GPUs and internet at all.
        most_sessions: GPU runs at once.
        processing: questions for a data set's state that are answered with "not ready".
        processing_fails: a data set is never ready.
        preempt_after: seconds after which a run is ended from outside; None for never.
        preempt_as: the state that it then has.
        keeps_output: whether such a run keeps what it wrote.
        page: most files listed at once.
        faults: how requests go wrong, in order.
    """

    gpu: str = "T4 x2"
    gpu_hours: float = 30.0
    gpu_hours_used: float = 0.0
    phone_verified: bool = True
    most_sessions: int = 2
    processing: int = 1
    processing_fails: bool = False
    preempt_after: float | None = None
    preempt_as: str = "ERROR"
    keeps_output: bool = True
    page: int = 5
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: str) -> Fault | None:
        """Return the fault that befalls a request, and count it."""
        for fault in self.faults:
            if fault.where in path and fault.times > 0:
                if fault.skip > 0:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                return fault
        return None
