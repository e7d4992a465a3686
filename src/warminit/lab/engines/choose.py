"""options -> the engine of a study, this machine or a cluster, checked before data are loaded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from warminit.errors import WarminitError
from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.job import Begin, DataSource, Job, Outcome
from warminit.lab.engines.local import RUNS_AT_ONCE, run_all
from warminit.lab.engines.options import Engine, EngineOptions, OnProgress, Places
from warminit.lab.runs.environment import device_elsewhere, device_kind
from warminit.lab.runs.plan import PlannedRun


@contextmanager
def planning_device(options: EngineOptions, source: DataSource) -> Iterator[None]:
    """Allow plans on a driver without a GPU: a worker of the cluster returns the GPU's kind.

    Raises:
        WarminitError: If the cluster has no GPU either.
    """
    try:
        device_kind(source.device)
        elsewhere: AbstractContextManager[None] = nullcontext()
    except WarminitError:
        if options.engine == "local":
            raise
        from warminit.lab.engines.ray_cluster import kind_on

        cpus = options.cpus_per_run or float(source.threads)
        kind = kind_on(options.address, source.device, cpus, options.gpus_per_run or 1.0)
        elsewhere = device_elsewhere(source.device, kind)
    with elsewhere:
        yield


def engine_for(
    options: EngineOptions,
    make_job: Callable[[DataSource], Job],
    source: DataSource,
    *,
    make_begin: Callable[[DataSource], Begin] | None = None,
    datasets: Mapping[str, ImageDataset] | None = None,
    places: Places | None = None,
) -> Engine:
    """Return the engine that the options ask for.

    Args:
        options: Engine and its resources.
        make_job: Function from the workers' data source to the job of each run.
        source: Data root, device and threads of a run.
        make_begin: Function like `make_job`, for runs that take turns on a GPU of this machine.
        datasets: Loaded data sets by the study's names, sent to a cluster once. None for a job
            without data sets, for example a user's training loop.
        places: Mapping to fill with the environments of a cluster's machines, run by run.
    """

    def engine(
        runs: Sequence[PlannedRun], on_progress: OnProgress
    ) -> Iterator[tuple[PlannedRun, Outcome]]:
        if options.engine == "local":
            begin = None if source.device == "cpu" or make_begin is None else make_begin(source)
            return run_all(
                runs,
                begin or make_job(source),
                threads=source.threads,
                workers=options.workers,
                at_once=(options.workers or RUNS_AT_ONCE) if begin else None,
                retries=options.retries,
                time_limit=options.time_limit,
                on_progress=on_progress,
            )
        from warminit.lab.engines.ray import run_on_ray

        return run_on_ray(
            runs,
            make_job,
            source,
            options=options,
            datasets=datasets or {},
            places={} if places is None else places,
            on_progress=on_progress,
        )

    return engine
