/** What a refused call fails with, and what can be read from it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import { anyPack, DurationSchema } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import * as octohooks from "octohooks";
import { BatchCreateMessagesResponseSchema } from "octohooks/v1";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../dist/gen/google/rpc/error_details_pb.js";
import { Refusal } from "./fakeServer.js";
import { Setup } from "./setup.js";

const setup = new Setup();
const { OctohooksError } = octohooks;

/** What a call fails with that the server refuses like this. */
async function refused(refusal: Refusal): Promise<octohooks.OctohooksError> {
  setup.server.on("GetApplication", () => Promise.reject(refusal));
  try {
    await setup.client.application.get("some-user");
  } catch (error) {
    assert.ok(error instanceof OctohooksError);
    return error;
  }
  return assert.fail("it was not refused");
}

const BAD_REQUEST: readonly [DescMessage, Message] = [
  BadRequestSchema,
  create(BadRequestSchema, {
    fieldViolations: [
      { field: "endpoint.url", description: "is required" },
      { field: "endpoint.channels", description: "at most 10" },
    ],
  }),
];

for (const [code, expected] of [
  [status.INVALID_ARGUMENT, "InvalidArgument"],
  [status.DEADLINE_EXCEEDED, "DeadlineExceeded"],
  [status.NOT_FOUND, "NotFound"],
  [status.ALREADY_EXISTS, "AlreadyExists"],
  [status.PERMISSION_DENIED, "PermissionDenied"],
  [status.RESOURCE_EXHAUSTED, "ResourceExhausted"],
  [status.FAILED_PRECONDITION, "FailedPrecondition"],
  [status.OUT_OF_RANGE, "OutOfRange"],
  [status.UNIMPLEMENTED, "Unimplemented"],
  [status.INTERNAL, "Internal"],
  [status.UNAVAILABLE, "Unavailable"],
  [status.UNAUTHENTICATED, "Unauthenticated"],
  [status.CANCELLED, "Cancelled"],
  [status.DATA_LOSS, "OctohooksError"],
] as const) {
  test(`${status[code]} is the error ${expected}`, async () => {
    const error = await refused(new Refusal(code, "why"));
    assert.equal(error.constructor, octohooks[expected]);
    assert.equal(error.name, expected);
    assert.equal(error.code, code);
    assert.equal(error.status, status[code]);
    assert.equal(error.message, "why");
  });
}

test("an invalid argument names each field, in its message too", async () => {
  const error = await refused(
    new Refusal(status.INVALID_ARGUMENT, "2 fields are wrong", BAD_REQUEST),
  );
  assert.deepEqual(error.violations, [
    { field: "endpoint.url", description: "is required" },
    { field: "endpoint.channels", description: "at most 10" },
  ]);
  assert.equal(
    error.message,
    "2 fields are wrong; endpoint.url: is required; endpoint.channels: at most 10",
  );
  assert.equal(error.details, "2 fields are wrong");
});

test("a violation that the sentence tells already is not told twice", async () => {
  const error = await refused(
    new Refusal(status.INVALID_ARGUMENT, "endpoint.url: is required", BAD_REQUEST),
  );
  assert.equal(error.message, "endpoint.url: is required; endpoint.channels: at most 10");
});

test("the details of a refusal can be read", async () => {
  const error = await refused(
    new Refusal(
      status.OUT_OF_RANGE,
      "too old",
      [
        ErrorInfoSchema,
        create(ErrorInfoSchema, {
          reason: "WATCH_HISTORY_GONE",
          metadata: { oldest_resume_token: "t" },
        }),
      ],
      [ResourceInfoSchema, create(ResourceInfoSchema, { resourceName: "some-user" })],
      [
        RetryInfoSchema,
        create(RetryInfoSchema, { retryDelay: { seconds: 2n, nanos: 500_000_000 } }),
      ],
      [RequestInfoSchema, create(RequestInfoSchema, { requestId: "req-1" })],
      // Of a type that this client does not know.
      [DurationSchema, create(DurationSchema, { seconds: 1n })],
    ),
  );
  assert.equal(error.reason, "WATCH_HISTORY_GONE");
  assert.deepEqual(error.metadata, { oldest_resume_token: "t" });
  assert.equal(error.resource?.resourceName, "some-user");
  assert.equal(error.retryAfterSeconds, 2.5);
  assert.equal(error.requestId, "req-1");
});

test("a limit that waiting helps against is a rate limit", async () => {
  const retry = create(RetryInfoSchema, { retryDelay: { seconds: 3n } });
  const error = await refused(
    new Refusal(status.RESOURCE_EXHAUSTED, "slow down", [RetryInfoSchema, retry]),
  );
  assert.ok(error instanceof octohooks.RateLimited);
  assert.ok(error instanceof octohooks.ResourceExhausted);
  assert.equal(error.retryAfterSeconds, 3);
});

test("an internal error has the correlation id as its request id", async () => {
  const info = create(ErrorInfoSchema, { reason: "INTERNAL", metadata: { correlation_id: "c-1" } });
  const error = await refused(new Refusal(status.INTERNAL, "a defect", [ErrorInfoSchema, info]));
  assert.equal(error.requestId, "c-1");
});

test("a refusal without details has none", async () => {
  const refusal = new Refusal(status.NOT_FOUND);
  refusal.metadata.remove("grpc-status-details-bin");
  const error = await refused(refusal);
  assert.deepEqual(
    [
      error.reason,
      error.metadata,
      error.violations,
      error.resource,
      error.retryAfterSeconds,
      error.requestId,
    ],
    [undefined, {}, [], undefined, undefined, undefined],
  );
});

test("details that cannot be read leave code and message", async () => {
  const refusal = new Refusal(status.NOT_FOUND, "no such thing");
  refusal.metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff]));
  refusal.metadata.set("request-id", "r");
  const error = await refused(refusal);
  assert.ok(error instanceof octohooks.NotFound);
  assert.equal(error.message, "no such thing");
  assert.equal(error.requestId, "r");
});

test("an item of a batch that is refused is the error that a call would fail with", async () => {
  const info = create(ErrorInfoSchema, { reason: "PAYLOAD_TOO_LARGE" });
  const failure = {
    code: status.RESOURCE_EXHAUSTED,
    message: "too large",
    details: [anyPack(ErrorInfoSchema, info)],
  };
  setup.server.on("BatchCreateMessages", () =>
    create(BatchCreateMessagesResponseSchema, {
      results: [
        { result: { case: "message", value: { id: "msg_1" } } },
        { result: { case: "failure", value: failure } },
      ],
    }),
  );
  const [message, error] = await setup.client.message.createBatch([]);
  assert.ok(message && "id" in message && message.id === "msg_1");
  assert.ok(error instanceof octohooks.ResourceExhausted);
  assert.equal(error.reason, "PAYLOAD_TOO_LARGE");
  assert.equal(error.message, "too large");
});

test("what is wrong with a value is told before anything is sent", async () => {
  const { application, endpoint, message } = setup.client;
  // As a caller without types would.
  const wrong = (values: object): never => values as never;
  for (const [call, expected] of [
    [() => application.create(wrong({ nmae: "x" })), /Application has no field "nmae"/],
    [() => application.create(wrong({ name: 5 })), /^name: expected string/],
    [() => application.update("a", wrong({ metadata: { a: 1 } })), /^metadata: .*expected string/],
    [() => endpoint.create("a", wrong({ url: "u", eventTypes: "x" })), /^eventTypes: an array/],
    [
      () => endpoint.create("a", wrong({ url: "u", signatureType: "rsa" })),
      /"rsa" is none of hmac_sha256, ed25519/,
    ],
    [
      () => endpoint.create("a", wrong({ url: "u", retrySchedule: [NaN] })),
      /^retrySchedule: .*finite/,
    ],
    [() => endpoint.recover("a", "b", { since: new Date(NaN) }), /^since: the Date is invalid/],
    [() => message.create("a", wrong({ eventType: "x", payload: 5 })), /a JSON document is/],
    [() => message.create("a", wrong({ eventType: "x" })), /a JSON document is/],
  ] as const) {
    await assert.rejects(
      call(),
      (error) => error instanceof TypeError && expected.test(error.message),
    );
  }
  assert.deepEqual(setup.server.received, []);
});
