"""Jobs."""

from octohooks.calls import Call
from octohooks.resource import Resource, TransportT, unary
from octohooks.v1 import job_service_pb2 as pb
from octohooks.v1.job_pb2 import Job


class JobResource(Resource[TransportT]):
    """The work on many messages that `endpoint.recover` and `endpoint.replay` begin."""

    @unary
    def get(self, job: str) -> Call[Job]:
        """Answers one job, which tells how far it is.

        Raises:
            NotFound: there is none with this ID, or it finished more than 30 days ago.
        """
        return Call(pb.GetJobRequest(job=job), pb.GetJobResponse, lambda response: response.job)
