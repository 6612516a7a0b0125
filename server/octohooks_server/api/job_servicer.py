"""JobService."""

from octohooks.v1.job_service_pb2 import GetJobRequest, GetJobResponse
from octohooks.v1.job_service_pb2_grpc import JobServiceServicer

from octohooks_server.api.caller import environment_of_caller, require_own_application
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.gate import Context
from octohooks_server.store import jobs


class JobServicer(JobServiceServicer):
    """Tells how far the jobs of the caller's environment are."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._database = dependencies.database

    async def GetJob(self, request: GetJobRequest, context: Context) -> GetJobResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("job", request.job)
        checks.done()
        async with self._database.read() as conn:
            job = await jobs.get(conn, environment_id=environment_id, id=request.job)
        require_own_application(job.application, "job", request.job)
        return GetJobResponse(job=job)
