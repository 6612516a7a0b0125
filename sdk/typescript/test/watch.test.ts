/** Watches: what they give, how they go on after a cut, and how they end. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { create, toJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import {
  Backoff,
  Cancelled,
  Internal,
  OutOfRange,
  Unauthenticated,
  Unavailable,
  type Watch,
} from "octohooks";
import {
  WatchAttemptsRequestSchema,
  WatchAttemptsResponseSchema,
  type WatchAttemptsRequest,
} from "octohooks/v1";

import { ErrorInfoSchema } from "../dist/gen/google/rpc/error_details_pb.js";
import {
  FakeServer,
  leftWaitingAtAStop,
  Refusal,
  unavailable,
  type Received,
} from "./fakeServer.js";
import { all, Happening, Setup } from "./setup.js";

const setup = new Setup();

type Step = Message | ((received: Received) => unknown);

function events(attempts: string[], resumeToken = ""): Message {
  return create(WatchAttemptsResponseSchema, {
    events: attempts.map((id) => ({ event: { case: "attempt" as const, value: { id } } })),
    resumeToken,
  });
}

const bookmark = (resumeToken = ""): Message => events([], resumeToken);

/** Answers the first watch with the first steps, the second with the second, and so on. */
function script(server: FakeServer, ...streams: Step[][]): void {
  server.on("WatchAttempts", async function* (received) {
    for (const step of streams.shift() ?? [refuse(status.UNIMPLEMENTED, "the script has ended")]) {
      if (typeof step === "function") {
        await step(received);
      } else {
        yield step;
      }
    }
  });
}

function refuse(...refusal: ConstructorParameters<typeof Refusal>): Step {
  return () => {
    throw new Refusal(...refusal);
  };
}

const cut: Step = () => {
  throw unavailable();
};
const resetByAProxy = refuse(status.INTERNAL, "Received RST_STREAM with code 2");
const leftWaiting: Step = () => {
  throw leftWaitingAtAStop();
};
/** Nothing: the stream ends with OK. */
const hangUp: Step = () => undefined;
const stay: Step = ({ cancelled }) => cancelled;

async function first(count: number, watch: Watch): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < count) {
    const { value } = await watch.next();
    assert.equal(value?.event.case, "attempt");
    ids.push((value?.event.value as { id: string }).id);
  }
  return ids;
}

function requests(server = setup.server): JsonValue[] {
  return server
    .requests("WatchAttempts")
    .map((request) => toJson(WatchAttemptsRequestSchema, request as WatchAttemptsRequest));
}

test("a watch gives the events of each response in their order", async () => {
  script(setup.server, [bookmark(), events(["1", "2"]), bookmark(), events(["3"]), stay]);
  assert.deepEqual(await first(3, setup.client.attempt.watch()), ["1", "2", "3"]);
});

test("a watch is live once the server has said so", async () => {
  const happened = new Happening();
  script(setup.server, [bookmark(), () => happened.happened, events(["1"]), stay]);
  const watch = setup.client.attempt.watch();
  assert.deepEqual(setup.server.received, []);
  await watch.waitUntilLive();
  await watch.waitUntilLive();
  happened.happen();
  assert.deepEqual(await first(1, watch), ["1"]);
  assert.equal(setup.server.received.length, 1);
});

test("waiting and iterating at a time lose nothing", async () => {
  script(setup.server, [events(["1", "2"]), stay]);
  const watch = setup.client.attempt.watch({ since: new Date() });
  const [one, two] = await Promise.all([watch.next(), watch.next(), watch.waitUntilLive()]);
  assert.deepEqual(
    [one, two].map(({ value }) => (value?.event.value as { id: string }).id),
    ["1", "2"],
  );
});

for (const [name, how] of Object.entries({ cut, resetByAProxy, leftWaiting, hangUp })) {
  test(`after a cut a watch goes on after the last response: ${name}`, async () => {
    script(
      setup.server,
      [bookmark("a"), events(["1", "2"], "b"), how],
      [bookmark("b"), how],
      [bookmark("c"), how],
      [bookmark("c"), events(["3"], "d"), stay],
    );
    const watch = setup.client.attempt.watch({ application: "some-user", kinds: ["failed"] });
    assert.deepEqual(await first(3, watch), ["1", "2", "3"]);
    const begun = { application: "some-user", kinds: ["ATTEMPT_EVENT_KIND_FAILED"] };
    assert.deepEqual(requests(), [
      begun,
      ...["b", "b", "c"].map((resumeToken) => ({ ...begun, resumeToken })),
    ]);
  });
}

test("after a cut in the middle of a response no event is missed or repeated", async () => {
  script(
    setup.server,
    [bookmark("a"), events(["1", "2", "3"], "b"), cut],
    [bookmark("b"), events(["4"], "c"), stay],
  );
  const watch = setup.client.attempt.watch();
  assert.deepEqual(await first(1, watch), ["1"]);
  assert.deepEqual(await first(3, watch), ["2", "3", "4"]);
});

test("a watch that began in the past does not begin there again", async () => {
  script(setup.server, [events(["1"], "a"), cut], [bookmark("a"), events(["2"], "b"), stay]);
  assert.deepEqual(await first(2, setup.client.attempt.watch({ since: new Date() })), ["1", "2"]);
  assert.deepEqual(requests()[1], { resumeToken: "a" });
});

test("without tokens a watch goes on from now", async () => {
  script(setup.server, [events(["1"]), cut], [bookmark(), events(["2"]), stay]);
  const watch = setup.client.attempt.watch({ since: new Date() });
  assert.deepEqual(await first(2, watch), ["1", "2"]);
  assert.deepEqual(requests()[1], {});
  assert.equal(watch.resumeToken, "");
});

test("a cut before the first response begins where the caller said", async () => {
  script(setup.server, [cut], [cut], [events(["1"]), stay]);
  assert.deepEqual(await first(1, setup.client.attempt.watch({ resumeToken: "a" })), ["1"]);
  assert.deepEqual(requests(), Array(3).fill({ resumeToken: "a" }));
});

test("the resume token stands after the events that were given", async () => {
  script(setup.server, [
    bookmark("a"),
    events(["1", "2"], "b"),
    bookmark("c"),
    events(["3"], "d"),
    stay,
  ]);
  const watch = setup.client.attempt.watch();
  assert.equal(watch.resumeToken, "");
  await watch.waitUntilLive();
  assert.equal(watch.resumeToken, "a");
  await watch.next();
  // In the middle of a response only the token before it misses nothing.
  assert.equal(watch.resumeToken, "a");
  await watch.next();
  assert.equal(watch.resumeToken, "b");
  await watch.next();
  assert.equal(watch.resumeToken, "d");
  assert.equal(setup.client.attempt.watch({ resumeToken: "z" }).resumeToken, "z");
});

test("a revoked key ends a watch", async () => {
  script(setup.server, [
    bookmark("a"),
    events(["1"], "b"),
    refuse(status.UNAUTHENTICATED, "revoked"),
  ]);
  const watch = setup.client.attempt.watch();
  assert.deepEqual(await first(1, watch), ["1"]);
  await assert.rejects(watch.next(), Unauthenticated);
  assert.deepEqual(await all(watch), []);
  assert.equal(setup.server.received.length, 1);
});

test("an internal error of the server ends a watch", async () => {
  const info = create(ErrorInfoSchema, { reason: "INTERNAL" });
  script(setup.server, [
    bookmark("a"),
    refuse(status.INTERNAL, "a defect, RST_STREAM", [ErrorInfoSchema, info]),
  ]);
  await assert.rejects(setup.client.attempt.watch().next(), Internal);
  assert.equal(setup.server.received.length, 1);
});

test("a token that is too old ends a watch with the oldest one", async () => {
  const info = create(ErrorInfoSchema, {
    reason: "WATCH_HISTORY_GONE",
    metadata: { oldest_resume_token: "z" },
  });
  script(setup.server, [refuse(status.OUT_OF_RANGE, "too old", [ErrorInfoSchema, info])]);
  await assert.rejects(
    setup.client.attempt.watch({ resumeToken: "a" }).waitUntilLive(),
    (error) => error instanceof OutOfRange && error.metadata["oldest_resume_token"] === "z",
  );
});

test("a server that is not there to begin with is unavailable", async () => {
  setup.server.stop();
  await assert.rejects(setup.client.attempt.watch().next(), Unavailable);
});

test("a watch goes on with the next server at the same address", async () => {
  script(setup.server, [bookmark("a"), events(["1"], "b"), stay]);
  const watch = setup.client.attempt.watch();
  assert.deepEqual(await first(1, watch), ["1"]);
  const { target } = setup.server;
  setup.server.stop();
  const next = await FakeServer.start(target);
  try {
    script(next, [bookmark("b"), events(["2"], "c"), stay]);
    assert.deepEqual(await first(1, watch), ["2"]);
    assert.deepEqual(requests(next), [{ resumeToken: "b" }]);
  } finally {
    watch.close();
    next.stop();
  }
});

test("since and a resume token exclude each other", () => {
  assert.throws(
    () => setup.client.attempt.watch({ since: new Date(), resumeToken: "a" }),
    TypeError,
  );
});

test("leaving the loop ends the watch, at the server too", async () => {
  const left = new Happening();
  script(setup.server, [
    bookmark("a"),
    events(["1", "2"], "b"),
    ({ cancelled }) => cancelled.then(left.happen),
  ]);
  const watch = setup.client.attempt.watch();
  for await (const event of watch) {
    assert.equal(event.event.case, "attempt");
    break;
  }
  await left.happened;
  // Also when it is left in the middle of a response.
  assert.deepEqual(await all(watch), []);
});

test("closing a watch ends it while it waits", async () => {
  script(setup.server, [bookmark("a"), stay]);
  const watch = setup.client.attempt.watch();
  await watch.waitUntilLive();
  const rest = all(watch);
  watch.close();
  assert.deepEqual(await rest, []);
});

test("closing a watch, or its client, ends it between two connections", async () => {
  for (const end of ["watch", "client"] as const) {
    const client = setup.connect("key", {
      reconnect: new Backoff({ initialSeconds: 3600, maximumSeconds: 3600 }),
    });
    const left = new Happening();
    script(setup.server, [bookmark("a"), () => left.happen(), cut]);
    const watch = client.attempt.watch();
    const rest = all(watch);
    await left.happened;
    (end === "watch" ? watch : client).close();
    assert.deepEqual(await rest, []);
  }
});

test("closing the client ends its watches", async () => {
  script(setup.server, [bookmark("a"), stay]);
  const watch = setup.client.attempt.watch();
  await watch.waitUntilLive();
  const rest = all(watch);
  setup.client.close();
  assert.deepEqual(await rest, []);
});

test("waiting for a closed watch is cancelled", async () => {
  const watch = setup.client.attempt.watch();
  watch.close();
  await assert.rejects(watch.waitUntilLive(), Cancelled);
  assert.deepEqual(setup.server.received, []);
});

test("the wait before connecting again doubles up to its maximum", () => {
  const backoff = new Backoff({ initialSeconds: 1, maximumSeconds: 5, random: () => 0 });
  assert.deepEqual(
    [1, 2, 3, 4, 5000].map((failures) => backoff.delay(failures)),
    [1, 2, 4, 5, 5],
  );
  const shortened = new Backoff({ initialSeconds: 1, maximumSeconds: 5, random: () => 1 });
  assert.deepEqual(
    [1, 4].map((failures) => shortened.delay(failures)),
    [0.5, 2.5],
  );
});

test("a response starts the waits from the beginning", async () => {
  const waits: number[] = [];
  class Recording extends Backoff {
    override delay(failures: number): number {
      waits.push(failures);
      return 0;
    }
  }
  const client = setup.connect("key", {
    reconnect: new Recording(),
    // Else gRPC itself tries again until the first response.
    channelOptions: { "grpc.enable_retries": 0 },
  });
  script(
    setup.server,
    [bookmark("a"), cut],
    [cut],
    [cut],
    [bookmark("a"), cut],
    [events(["1"], "b"), stay],
  );
  assert.deepEqual(await first(1, client.attempt.watch()), ["1"]);
  assert.deepEqual(waits, [1, 2, 3, 1]);
});
