"""Each step of a job ends soon, however little there is to do in what it looks at."""

from datetime import timedelta

from octohooks.v1.job_pb2 import JOB_KIND_RECOVER, JOB_KIND_REPLAY, JOB_STATE_FINISHED, Job
from octohooks_server.rules.ids import JOB
from octohooks_server.store import jobs
from octohooks_server.store.jobs import JobRequest

from tests.server.store.world import World


async def begin(world: World, application: str, endpoint: str, kind: int, since: timedelta) -> str:
    """A job about what was accepted in the last `since`."""
    async with world.database.write() as conn:
        job = await jobs.create(
            conn,
            id=world.ids.new(JOB),
            request=JobRequest(
                environment_id=world.environment_id,
                application_id=application,
                endpoint_id=endpoint,
                kind=kind,
                since=world.now - since,
                until=world.now + timedelta(seconds=1),
            ),
            now=world.now,
        )
    return job.id


async def step(world: World, id: str, limit: int) -> Job:
    """The job after its next step."""
    async with world.database.write() as conn:
        assert await jobs.advance_one(conn, now=world.now, limit=limit)
        return await jobs.get(conn, environment_id=world.environment_id, id=id)


async def test_a_recovery_looks_at_so_many_deliveries_at_a_time_whatever_became_of_them(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    await world.send(application, count=29)
    (failed,) = await world.send(application)
    for claimed in (await world.claim()).deliveries:
        status = 500 if claimed.message_id == failed else 200
        await world.record_one(world.outcome(claimed, status, retry_in=None))
    id = await begin(world, application, endpoint, JOB_KIND_RECOVER, timedelta(hours=1))
    counts = [(await step(world, id, limit=10)).examined_count for _ in range(3)]
    assert counts == [0, 0, 1]
    finished = await step(world, id, limit=10)
    assert (finished.state, finished.scheduled_count) == (JOB_STATE_FINISHED, 1)
    assert (await world.claim_one()).message_id == failed


async def test_a_job_does_not_look_at_what_is_much_older_than_what_it_is_about(
    world: World,
) -> None:
    application = await world.application()
    old_endpoint = await world.endpoint(application)
    await world.send(application, count=100)
    await world.claim()
    world.pass_time(24 * 3_600)
    sent = await world.send(application, count=3)
    new_endpoint = await world.endpoint(application)
    for kind, endpoint in ((JOB_KIND_REPLAY, new_endpoint), (JOB_KIND_RECOVER, old_endpoint)):
        id = await begin(world, application, endpoint, kind, timedelta(minutes=1))
        assert (await step(world, id, limit=10)).state == JOB_STATE_FINISHED
    claimed = [one for one in (await world.claim()).deliveries if one.claim == 1]
    assert sorted(
        one.message_id for one in claimed if one.destination.endpoint_id == new_endpoint
    ) == sorted(sent)
