/** What holds for every call: authentication, deadlines, retries, idempotency keys and paging. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { create, type Message } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { Cancelled, DeadlineExceeded, NotFound, RateLimited, Unavailable } from "octohooks";
import {
  CreateApplicationResponseSchema,
  GetApplicationResponseSchema,
  ListApplicationsResponseSchema,
  type ListApplicationsRequest,
  type ListApplicationsResponse,
} from "octohooks/v1";

import { ErrorInfoSchema, RetryInfoSchema } from "../dist/gen/google/rpc/error_details_pb.js";
import { leftWaitingAtAStop, Refusal, unavailable, type Handler } from "./fakeServer.js";
import { all, Happening, Setup } from "./setup.js";

const setup = new Setup();
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Ends the first calls so, then answers. */
function refusingBefore(
  times: number,
  answer: Message,
  refusal: () => Refusal = unavailable,
): Handler {
  let left = times;
  return () => {
    if (left > 0) {
      left -= 1;
      return Promise.reject(refusal());
    }
    return answer;
  };
}

function neverAnswering(arrived = new Happening()): Handler {
  return async ({ cancelled }) => {
    arrived.happen();
    await cancelled;
    throw unavailable();
  };
}

function metadata(name: string): (string | Buffer | undefined)[] {
  return setup.server.received.map((received) => received.metadata.get(name)[0]);
}

test("calls carry the API key and say which client they come from", async () => {
  await setup.connect("secret-key").application.get("some-user");
  assert.deepEqual(metadata("authorization"), ["Bearer secret-key"]);
  assert.match(String(metadata("user-agent")[0]), /^octohooks-typescript\//);
});

test("an answer comes back as the generated message", async () => {
  const application = { id: "app_1", uid: "some-user", metadata: { plan: "pro" } };
  setup.server.on("GetApplication", () => create(GetApplicationResponseSchema, { application }));
  const answer = await setup.client.application.get("some-user");
  assert.equal(answer.$typeName, "octohooks.v1.Application");
  assert.equal(answer.id, "app_1");
  assert.deepEqual(answer.metadata, { plan: "pro" });
});

test("a delete answers nothing", async () => {
  assert.equal(await setup.client.application.delete("some-user"), undefined);
});

test("calls have ten seconds unless told", async () => {
  const began = Date.now();
  await setup.client.application.get("some-user");
  await setup.client.application.get("some-user", { timeoutSeconds: 60 });
  await setup.client.application.get("some-user", { timeoutSeconds: Infinity });
  await setup.connect("key", { timeoutSeconds: 3 }).application.get("some-user");
  const took = (Date.now() - began) / 1000;
  const [first, longer, endless, shorter] = setup.server.received.map(
    ({ deadline }) => deadline && (deadline.getTime() - began) / 1000,
  );
  // On its way the time is rounded up a little.
  assert.ok(first && first > 9.9 && first < 11 + took, `${first}`);
  assert.ok(longer && longer > 59.9 && longer < 61 + took, `${longer}`);
  assert.equal(endless, undefined);
  assert.ok(shorter && shorter > 2.9 && shorter < 4 + took, `${shorter}`);
});

test("a call without an answer ends with its deadline", async () => {
  setup.server.on("GetApplication", neverAnswering());
  const call = setup.client.application.get("some-user", { timeoutSeconds: 0.05 });
  await assert.rejects(call, DeadlineExceeded);
});

test("an aborted signal ends the call, also at the server", async () => {
  const arrived = new Happening();
  const left = new Happening();
  setup.server.on("GetApplication", async ({ cancelled }) => {
    arrived.happen();
    await cancelled;
    left.happen();
    throw unavailable();
  });
  const abort = new AbortController();
  const call = setup.client.application.get("some-user", { signal: abort.signal });
  await arrived.happened;
  abort.abort("why");
  await assert.rejects(call, (error) => error instanceof Cancelled && error.cause === "why");
  await left.happened;
  assert.equal(setup.server.received.length, 1);
});

test("a signal that is aborted already sends nothing", async () => {
  const call = setup.client.application.get("some-user", { signal: AbortSignal.abort() });
  await assert.rejects(call, Cancelled);
  assert.deepEqual(setup.server.received, []);
});

test("each create carries a new idempotency key", async () => {
  await setup.client.application.create({ name: "A" });
  await setup.client.application.create({ name: "A" });
  await setup.client.message.create("some-user", { eventType: "x", payload: {} });
  await setup.client.endpoint.create("some-user", { url: "https://example.com" });
  const keys = metadata("idempotency-key").map(String);
  assert.equal(new Set(keys).size, 4);
  for (const key of keys) {
    assert.match(key, UUID);
  }
});

test("a caller's own idempotency key is sent", async () => {
  await setup.client.application.create({ name: "A" }, { idempotencyKey: "signup-1" });
  assert.deepEqual(metadata("idempotency-key"), ["signup-1"]);
});

for (const idempotencyKey of ["", "a b", "a\n", "ä", "x".repeat(257)]) {
  test(`an idempotency key that cannot be sent is refused: ${JSON.stringify(idempotencyKey.slice(0, 5))}`, async () => {
    const call = setup.connect("secret-key").application.create({ name: "A" }, { idempotencyKey });
    await assert.rejects(
      call,
      (error) => error instanceof TypeError && !error.message.includes("secret-key"),
    );
    assert.deepEqual(setup.server.received, []);
  });
}

test("reads carry no idempotency key", async () => {
  await setup.client.application.get("some-user");
  assert.deepEqual(metadata("idempotency-key"), [undefined]);
});

for (const refusal of [unavailable, leftWaitingAtAStop]) {
  test(`a create is retried with the same idempotency key: ${refusal.name}`, async () => {
    const response = create(CreateApplicationResponseSchema, { application: { id: "app_1" } });
    setup.server.on("CreateApplication", refusingBefore(3, response, refusal));
    const application = await setup.client.application.create({ name: "A" });
    assert.equal(application.id, "app_1");
    assert.equal(setup.server.received.length, 4);
    assert.equal(new Set(metadata("idempotency-key")).size, 1);
  });
}

test("a call is given up after five tries", async () => {
  setup.server.on("GetApplication", () => Promise.reject(unavailable()));
  await assert.rejects(setup.client.application.get("some-user"), Unavailable);
  assert.equal(setup.server.received.length, 5);
});

test("other refusals are not retried", async () => {
  setup.server.on("GetApplication", () => Promise.reject(new Refusal(status.NOT_FOUND)));
  await assert.rejects(setup.client.application.get("some-user"), NotFound);
  assert.equal(setup.server.received.length, 1);
});

test("a server that is not there is unavailable", async () => {
  setup.server.stop();
  await assert.rejects(setup.client.application.get("some-user"), Unavailable);
});

test("closing the client ends its calls, and refuses new ones", async () => {
  const arrived = new Happening();
  setup.server.on("GetApplication", neverAnswering(arrived));
  const call = setup.client.application.get("some-user");
  await arrived.happened;
  setup.client.close();
  await assert.rejects(call, Cancelled);
  await assert.rejects(setup.client.application.get("some-user"), Cancelled);
  assert.equal(setup.server.received.length, 1);
});

function paged(pages: Record<string, ListApplicationsResponse>): Handler {
  return ({ request }) => {
    const page = pages[(request as ListApplicationsRequest).pageToken];
    return page ?? Promise.reject(new Refusal(status.NOT_FOUND));
  };
}

function named(names: string[], nextPageToken = ""): ListApplicationsResponse {
  const applications = names.map((name) => ({ name }));
  return create(ListApplicationsResponseSchema, { applications, nextPageToken });
}

test("a list asks for page after page", async () => {
  // A page can be empty without being the last, where a filter lets little through.
  setup.server.on(
    "ListApplications",
    paged({ "": named(["a", "b"], "2"), "2": named([], "3"), "3": named(["c"]) }),
  );
  const names = (await all(setup.client.application.list({ pageSize: 2 }))).map(({ name }) => name);
  assert.deepEqual(names, ["a", "b", "c"]);
  const asked = setup.server.requests("ListApplications") as ListApplicationsRequest[];
  assert.deepEqual(
    asked.map(({ pageSize, pageToken }) => [pageSize, pageToken]),
    [
      [2, ""],
      [2, "2"],
      [2, "3"],
    ],
  );
});

test("a list asks for a page only when it is needed", async () => {
  setup.server.on("ListApplications", paged({ "": named(["a", "b"], "2"), "2": named(["c"]) }));
  const applications = setup.client.application.list();
  assert.equal(setup.server.received.length, 0);
  await applications.next();
  await applications.next();
  assert.equal(setup.server.received.length, 1);
  assert.equal((await applications.next()).value?.name, "c");
  assert.equal(setup.server.received.length, 2);
});

test("an error on a later page comes after the items before it", async () => {
  setup.server.on("ListApplications", paged({ "": named(["a"], "2") }));
  const applications = setup.client.application.list();
  assert.equal((await applications.next()).value?.name, "a");
  await assert.rejects(applications.next(), NotFound);
});

/** Refuses as a server does that is asked too often, and lets wait for so long. */
function tooOften(retryDelay: { seconds?: bigint; nanos?: number }): Refusal {
  return new Refusal(
    status.RESOURCE_EXHAUSTED,
    "slow down",
    [ErrorInfoSchema, create(ErrorInfoSchema, { reason: "RATE_LIMITED" })],
    [RetryInfoSchema, create(RetryInfoSchema, { retryDelay })],
  );
}

test("a call that comes too often is made again when the server says", async () => {
  const application = { id: "app_1" };
  setup.server.on(
    "GetApplication",
    refusingBefore(2, create(GetApplicationResponseSchema, { application }), () =>
      tooOften({ nanos: 1_000_000 }),
    ),
  );
  assert.equal((await setup.client.application.get("some-user")).id, "app_1");
  assert.equal(setup.server.received.length, 3);
});

test("a call does not wait beyond its own time", async () => {
  setup.server.on("GetApplication", () => Promise.reject(tooOften({ seconds: 300n })));
  await assert.rejects(
    setup.client.application.get("some-user"),
    (error) => error instanceof RateLimited && error.retryAfterSeconds === 300,
  );
  assert.equal(setup.server.received.length, 1);
});

test("a wait for the server's leave ends with the call's signal", async () => {
  const controller = new AbortController();
  setup.server.on("GetApplication", () => {
    setTimeout(() => controller.abort(), 20);
    return Promise.reject(tooOften({ seconds: 300n }));
  });
  await assert.rejects(
    setup.client.application.get("some-user", {
      timeoutSeconds: Infinity,
      signal: controller.signal,
    }),
    Cancelled,
  );
  assert.equal(setup.server.received.length, 1);
});
