import assert from "node:assert/strict";
import { test } from "node:test";

import { create, toJson, type DescMessage, type Message } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Octohooks } from "octohooks";
import * as v1 from "octohooks/v1";

import { SERVICES } from "./fakeServer.js";
import { all, Setup } from "./setup.js";

const setup = new Setup();
const NOON = new Date("2026-07-01T12:00:00.250Z");
const NOON_JSON = "2026-07-01T12:00:00.250Z";

const FILTERS = {
  eventTypes: ["x"],
  channels: ["a"],
  tags: { b: "c" },
  after: NOON,
  before: new Date(NOON.getTime() + 1000),
};
const FILTERS_JSON = { ...FILTERS, after: NOON_JSON, before: "2026-07-01T12:00:01.250Z" };
const ABOUT = { application: "some-user", message: "m-1", endpoint: "main" };

/** For each RPC: calls, each with the request that it sends as JSON of protobuf. */
const CALLS: Record<string, [(client: Octohooks) => unknown, object][]> = {
  CreateEnvironment: [
    [
      (client) =>
        client.environment.create({
          name: "Staging",
          retrySchedule: [0, 5.5, durationFromMs(60_000)],
          payloadRetention: 30 * 86_400,
          defaultSignatureType: "ed25519",
          enforceSchemas: true,
        }),
      {
        environment: {
          name: "Staging",
          retrySchedule: { steps: ["0s", "5.500s", "60s"] },
          payloadRetention: "2592000s",
          defaultSignatureType: "SIGNATURE_TYPE_ED25519",
          enforceSchemas: true,
        },
      },
    ],
  ],
  GetEnvironment: [[(client) => client.environment.get("env_1"), { environment: "env_1" }]],
  ListEnvironments: [
    [(client) => all(client.environment.list()), { pageSize: 50 }],
    [(client) => all(client.environment.list({ pageSize: 7 })), { pageSize: 7 }],
  ],
  UpdateEnvironment: [
    [
      (client) => client.environment.update("env_1", { name: "Production", retrySchedule: null }),
      { environment: "env_1", values: { name: "Production" }, updateMask: "name,retrySchedule" },
    ],
  ],
  DeleteEnvironment: [[(client) => client.environment.delete("env_1"), { environment: "env_1" }]],

  CreateApiKey: [
    [(client) => client.apiKey.create(), { apiKey: {} }],
    [
      (client) => client.apiKey.create({ environment: "env_1", name: "billing", expireTime: NOON }),
      { environment: "env_1", apiKey: { name: "billing", expireTime: NOON_JSON } },
    ],
    [
      (client) =>
        client.apiKey.create({
          role: "application",
          application: "some-user",
          maxRequestsPerSecond: 20,
          maxWatches: 3,
        }),
      {
        apiKey: {
          role: "API_KEY_ROLE_APPLICATION",
          application: "some-user",
          maxRequestsPerSecond: 20,
          maxWatches: 3,
        },
      },
    ],
  ],
  ListApiKeys: [
    [
      (client) => all(client.apiKey.list({ environment: "env_1", pageSize: 3 })),
      { environment: "env_1", pageSize: 3 },
    ],
  ],
  RotateApiKey: [
    [(client) => client.apiKey.rotate("key_1"), { apiKey: "key_1" }],
    [
      (client) => client.apiKey.rotate("key_1", { overlap: 60 }),
      { apiKey: "key_1", overlap: "60s" },
    ],
  ],
  RevokeApiKey: [[(client) => client.apiKey.revoke("key_1"), { apiKey: "key_1" }]],

  CreateApplication: [
    [
      (client) =>
        client.application.create({
          uid: "some-user",
          name: "Some User",
          rateLimit: 5,
          metadata: { plan: "pro" },
        }),
      {
        application: {
          uid: "some-user",
          name: "Some User",
          rateLimit: 5,
          metadata: { plan: "pro" },
        },
      },
    ],
  ],
  GetApplication: [[(client) => client.application.get("some-user"), { application: "some-user" }]],
  ListApplications: [
    [(client) => all(client.application.list({ pageSize: 250 })), { pageSize: 250 }],
  ],
  UpdateApplication: [
    [
      (client) => client.application.update("some-user", { name: "Some User Application" }),
      {
        application: "some-user",
        values: { name: "Some User Application" },
        updateMask: "name",
        allowMissing: true,
      },
    ],
    [
      (client) =>
        client.application.update(
          "some-user",
          { name: "", rateLimit: null, uid: undefined, metadata: {} },
          { allowMissing: false },
        ),
      { application: "some-user", values: {}, updateMask: "name,rateLimit,metadata" },
    ],
  ],
  DeleteApplication: [
    [(client) => client.application.delete("some-user"), { application: "some-user" }],
  ],

  CreateEventType: [
    [
      (client) =>
        client.eventType.create({
          name: "invoice.paid",
          description: "An invoice was paid",
          schema: { type: "object" },
          examples: [{ id: 1 }, '{"id": 2}'],
          metadata: { team: "billing" },
        }),
      {
        eventType: {
          name: "invoice.paid",
          description: "An invoice was paid",
          schema: '{"type":"object"}',
          examples: ['{"id":1}', '{"id": 2}'],
          metadata: { team: "billing" },
        },
      },
    ],
  ],
  GetEventType: [[(client) => client.eventType.get("invoice.paid"), { eventType: "invoice.paid" }]],
  ListEventTypes: [
    [
      (client) => all(client.eventType.list({ includeArchived: true })),
      { includeArchived: true, pageSize: 50 },
    ],
  ],
  UpdateEventType: [
    [
      (client) =>
        client.eventType.update(
          "invoice.paid",
          { schema: null, archived: true },
          { allowMissing: true },
        ),
      {
        eventType: "invoice.paid",
        values: { archived: true },
        updateMask: "schema,archived",
        allowMissing: true,
      },
    ],
  ],
  ArchiveEventType: [
    [(client) => client.eventType.archive("invoice.paid"), { eventType: "invoice.paid" }],
  ],
  DeleteEventType: [
    [(client) => client.eventType.delete("invoice.paid"), { eventType: "invoice.paid" }],
  ],
  ImportOpenApi: [
    [
      (client) => client.eventType.importOpenApi({ openapi: "3.1.0" }, { dryRun: true }),
      { document: '{"openapi":"3.1.0"}', dryRun: true },
    ],
    [(client) => client.eventType.importOpenApi("openapi: 3.1.0"), { document: "openapi: 3.1.0" }],
  ],

  CreateEndpoint: [
    [
      (client) =>
        client.endpoint.create("some-user", {
          url: "https://example.com/",
          secret: "whsec_x",
          uid: "main",
          description: "d",
          eventTypes: ["invoice.paid"],
          channels: ["a"],
          headers: { "x-a": "1" },
          rateLimit: 9,
          retrySchedule: [0],
          signatureType: "hmac_sha256",
          disabled: true,
          metadata: { a: "b" },
        }),
      {
        application: "some-user",
        secret: "whsec_x",
        endpoint: {
          url: "https://example.com/",
          uid: "main",
          description: "d",
          eventTypes: ["invoice.paid"],
          channels: ["a"],
          headers: { "x-a": "1" },
          rateLimit: 9,
          retrySchedule: { steps: ["0s"] },
          signatureType: "SIGNATURE_TYPE_HMAC_SHA256",
          disabled: true,
          metadata: { a: "b" },
        },
      },
    ],
  ],
  GetEndpoint: [
    [
      (client) => client.endpoint.get("some-user", "main"),
      { application: "some-user", endpoint: "main" },
    ],
  ],
  ListEndpoints: [
    [
      (client) => all(client.endpoint.list("some-user")),
      { application: "some-user", pageSize: 50 },
    ],
  ],
  UpdateEndpoint: [
    [
      (client) =>
        client.endpoint.update(
          "some-user",
          "main",
          { url: "https://example.com/", channels: [] },
          { allowMissing: true },
        ),
      {
        application: "some-user",
        endpoint: "main",
        values: { url: "https://example.com/" },
        updateMask: "url,channels",
        allowMissing: true,
      },
    ],
  ],
  DeleteEndpoint: [
    [
      (client) => client.endpoint.delete("some-user", "main"),
      { application: "some-user", endpoint: "main" },
    ],
  ],
  GetEndpointSecret: [
    [
      (client) => client.endpoint.secret("some-user", "main"),
      { application: "some-user", endpoint: "main" },
    ],
  ],
  RotateEndpointSecret: [
    [
      (client) => client.endpoint.rotateSecret("some-user", "main"),
      { application: "some-user", endpoint: "main" },
    ],
    [
      (client) =>
        client.endpoint.rotateSecret("some-user", "main", { secret: "whsec_x", overlap: 0 }),
      { application: "some-user", endpoint: "main", secret: "whsec_x", overlap: "0s" },
    ],
  ],
  GetEndpointStats: [
    [
      (client) =>
        client.endpoint.stats("some-user", "main", {
          after: NOON,
          before: timestampFromDate(NOON),
        }),
      { application: "some-user", endpoint: "main", after: NOON_JSON, before: NOON_JSON },
    ],
  ],
  RecoverEndpoint: [
    [
      (client) => client.endpoint.recover("some-user", "main", { since: NOON, until: NOON }),
      { application: "some-user", endpoint: "main", since: NOON_JSON, until: NOON_JSON },
    ],
  ],
  ReplayEndpoint: [
    [
      (client) => client.endpoint.replay("some-user", "main", { since: NOON, until: NOON }),
      { application: "some-user", endpoint: "main", since: NOON_JSON, until: NOON_JSON },
    ],
    [
      (client) => client.endpoint.replay("some-user", "main", { since: NOON }),
      { application: "some-user", endpoint: "main", since: NOON_JSON },
    ],
  ],
  SendExample: [
    [
      (client) => client.endpoint.sendExample("some-user", "main", { eventType: "invoice.paid" }),
      { application: "some-user", endpoint: "main", eventType: "invoice.paid" },
    ],
  ],

  CreateMessage: [
    [
      (client) =>
        client.message.create("some-user", {
          eventType: "invoice.paid",
          payload: { id: 1, name: "Zoë" },
          uid: "m-1",
          channels: ["a"],
          tags: { b: "c" },
          payloadRetention: 5 * 86_400,
          inlineApplication: { name: "Some User" },
        }),
      {
        application: "some-user",
        message: {
          eventType: "invoice.paid",
          payload: base64('{"id":1,"name":"Zoë"}'),
          uid: "m-1",
          channels: ["a"],
          tags: { b: "c" },
          payloadRetention: "432000s",
        },
        inlineApplication: { uid: "some-user", name: "Some User" },
      },
    ],
    [
      (client) => client.message.create("some-user", { eventType: "x", payload: '{ "id": 1 }' }),
      { application: "some-user", message: { eventType: "x", payload: base64('{ "id": 1 }') } },
    ],
    [
      (client) =>
        client.message.create("some-user", {
          eventType: "x",
          payload: new TextEncoder().encode("[1]"),
        }),
      { application: "some-user", message: { eventType: "x", payload: base64("[1]") } },
    ],
  ],
  BatchCreateMessages: [
    [
      (client) =>
        client.message.createBatch([
          { application: "a", eventType: "x", payload: {} },
          { application: "b", eventType: "y", payload: [] },
        ]),
      {
        requests: [
          { application: "a", message: { eventType: "x", payload: base64("{}") } },
          { application: "b", message: { eventType: "y", payload: base64("[]") } },
        ],
      },
    ],
  ],
  GetMessage: [
    [
      (client) => client.message.get("some-user", "m-1"),
      { application: "some-user", message: "m-1" },
    ],
  ],
  ListMessages: [
    [
      (client) => all(client.message.list("some-user", { pageSize: 10, ...FILTERS })),
      { application: "some-user", pageSize: 10, ...FILTERS_JSON },
    ],
    [
      (client) => all(client.message.list("some-user", { after: null })),
      { application: "some-user", pageSize: 50 },
    ],
  ],
  DeleteMessagePayload: [
    [
      (client) => client.message.deletePayload("some-user", "m-1"),
      { application: "some-user", message: "m-1" },
    ],
  ],
  ExplainMessage: [
    [
      (client) => all(client.message.explain("some-user", "m-1")),
      { application: "some-user", message: "m-1", pageSize: 50 },
    ],
  ],

  ListDeliveries: [
    [
      (client) =>
        all(client.delivery.list({ ...ABOUT, ...FILTERS, statuses: ["pending", "failed"] })),
      {
        ...ABOUT,
        ...FILTERS_JSON,
        statuses: ["DELIVERY_STATUS_PENDING", "DELIVERY_STATUS_FAILED"],
        pageSize: 50,
      },
    ],
  ],
  GetDelivery: [[(client) => client.delivery.get(ABOUT), ABOUT]],
  ResendDelivery: [
    [(client) => client.delivery.resend(ABOUT), ABOUT],
    [
      (client) => client.delivery.resend({ message: "msg_1", endpoint: "ep_1" }),
      { message: "msg_1", endpoint: "ep_1" },
    ],
  ],
  ListAttempts: [
    [
      (client) => all(client.attempt.list({ ...ABOUT, ...FILTERS, outcomes: ["failed"] })),
      { ...ABOUT, ...FILTERS_JSON, outcomes: ["ATTEMPT_OUTCOME_FAILED"], pageSize: 50 },
    ],
  ],
  ListAuditEvents: [
    [(client) => all(client.audit.list()), { pageSize: 50 }],
    [
      (client) =>
        all(
          client.audit.list({
            environment: "env_1",
            actor: "operator",
            methods: ["UpdateEndpoint"],
            resource: "ep_1",
            after: NOON,
            before: NOON,
            pageSize: 3,
          }),
        ),
      {
        environment: "env_1",
        actor: "operator",
        methods: ["UpdateEndpoint"],
        resource: "ep_1",
        after: NOON_JSON,
        before: NOON_JSON,
        pageSize: 3,
      },
    ],
  ],
  GetAttempt: [[(client) => client.attempt.get("atmpt_1"), { attempt: "atmpt_1" }]],
  WatchAttempts: [
    [
      (client) =>
        client.attempt
          .watch()
          .next()
          .catch(() => undefined),
      {},
    ],
    [
      (client) =>
        client.attempt
          .watch({
            ...ABOUT,
            eventTypes: ["x"],
            kinds: ["failed", "cancelled"],
            since: NOON,
            resumeToken: "",
          })
          .next()
          .catch(() => undefined),
      {
        ...ABOUT,
        eventTypes: ["x"],
        kinds: ["ATTEMPT_EVENT_KIND_FAILED", "ATTEMPT_EVENT_KIND_CANCELLED"],
        since: NOON_JSON,
      },
    ],
    [
      (client) =>
        client.attempt
          .watch({ resumeToken: "t" })
          .next()
          .catch(() => undefined),
      { resumeToken: "t" },
    ],
  ],

  CreateOperationalWebhook: [
    [
      (client) =>
        client.operationalWebhook.create({
          url: "https://example.com/",
          secret: "whsk_x",
          uid: "ops",
          description: "d",
          eventTypes: ["endpoint.disabled"],
          headers: { a: "b" },
          signatureType: "ed25519",
          disabled: true,
        }),
      {
        secret: "whsk_x",
        operationalWebhook: {
          url: "https://example.com/",
          uid: "ops",
          description: "d",
          eventTypes: ["endpoint.disabled"],
          headers: { a: "b" },
          signatureType: "SIGNATURE_TYPE_ED25519",
          disabled: true,
        },
      },
    ],
  ],
  GetOperationalWebhook: [
    [(client) => client.operationalWebhook.get("ops"), { operationalWebhook: "ops" }],
  ],
  ListOperationalWebhooks: [[(client) => all(client.operationalWebhook.list()), { pageSize: 50 }]],
  UpdateOperationalWebhook: [
    [
      (client) => client.operationalWebhook.update("ops", { disabled: false, description: null }),
      { operationalWebhook: "ops", values: {}, updateMask: "disabled,description" },
    ],
  ],
  DeleteOperationalWebhook: [
    [(client) => client.operationalWebhook.delete("ops"), { operationalWebhook: "ops" }],
  ],
  GetOperationalWebhookSecret: [
    [(client) => client.operationalWebhook.secret("ops"), { operationalWebhook: "ops" }],
  ],
  GetJob: [[(client) => client.job.get("job_1"), { job: "job_1" }]],
};

for (const [rpc, calls] of Object.entries(CALLS)) {
  for (const [index, [call, expected]] of calls.entries()) {
    test(`${rpc} sends the request that the arguments say (${index + 1})`, async () => {
      await call(setup.client);
      const [received, ...more] = setup.server.received;
      assert.deepEqual(more, []);
      assert.equal(received?.method, rpc);
      assert.deepEqual(toJson(inputOf(rpc), received?.request as Message), expected);
    });
  }
}

test("PublishMessages sends a request for each message", async () => {
  const requests: Message[] = [];
  setup.server.on("PublishMessages", async function* ({ requests: incoming }) {
    for await (const request of incoming) {
      requests.push(request);
      yield create(v1.PublishMessagesResponseSchema, {
        result: { result: { case: "message", value: { id: "msg_1" } } },
      });
    }
  });
  const message = {
    application: "a",
    eventType: "x",
    payload: {},
    tags: { b: "c" },
    idempotencyKey: "k",
  };
  await all(setup.client.message.publish([message]));
  assert.deepEqual(
    requests.map((request) => toJson(inputOf("PublishMessages"), request)),
    [
      {
        message: {
          application: "a",
          message: { eventType: "x", payload: base64("{}"), tags: { b: "c" } },
        },
        idempotencyKey: "k",
      },
    ],
  );
});

test("every RPC of the contract has a method", () => {
  const contract = SERVICES.flatMap((service) => service.methods.map((method) => method.name));
  assert.equal(contract.length, 53);
  assert.deepEqual([...Object.keys(CALLS), "PublishMessages"].sort(), contract.sort());
});

/** What an update or a create must not set, since the server alone does. */
const OUTPUT_ONLY: Record<string, readonly string[]> = {
  Environment: ["id", "createTime", "updateTime"],
  ApiKey: ["id", "environment", "displayPrefix", "lastUsedTime", "createTime"],
  Application: ["id", "createTime", "updateTime"],
  EventType: ["createTime", "updateTime"],
  Endpoint: ["id", "application", "disableReason", "failingSince", "createTime", "updateTime"],
  OperationalWebhook: ["id", "disableReason", "createTime", "updateTime"],
  Message: ["id", "application", "payloadExpireTime", "payloadDeleted", "createTime"],
};

test("the calls above set every field of every request that a caller can set", () => {
  const set = new Set<string>();
  for (const [rpc, calls] of Object.entries(CALLS)) {
    for (const [, expected] of calls) {
      note(inputOf(rpc), expected, set);
    }
  }
  const unset = Object.keys(CALLS).flatMap((rpc) =>
    settable(inputOf(rpc)).filter((field) => !set.has(field)),
  );
  // Tokens are the list's own business.
  assert.deepEqual(
    unset.filter((field) => !field.endsWith(".pageToken")),
    [],
  );
});

function settable(schema: DescMessage): string[] {
  return schema.fields.flatMap((field) => {
    const name = `${schema.name}.${field.localName}`;
    if (OUTPUT_ONLY[schema.name]?.includes(field.localName)) {
      return [];
    }
    const inner = field.fieldKind === "message" && field.message.typeName.startsWith("octohooks.");
    return inner ? [name, ...settable(field.message)] : [name];
  });
}

function note(schema: DescMessage, json: object, set: Set<string>): void {
  for (const [key, value] of Object.entries(json) as [string, object][]) {
    const field = schema.fields.find((one) => one.jsonName === key);
    assert.ok(field, `${schema.name} has no ${key}`);
    set.add(`${schema.name}.${field.localName}`);
    if (key === "updateMask") {
      const values = schema.fields.find((one) => one.localName === "values")?.message;
      for (const path of String(value).split(",")) {
        set.add(`${values?.name}.${path}`);
      }
    } else if (field.fieldKind === "message" && field.message.typeName.startsWith("octohooks.")) {
      note(field.message, value, set);
    }
  }
}

function inputOf(rpc: string): DescMessage {
  const method = SERVICES.flatMap((service) => service.methods).find((one) => one.name === rpc);
  assert.ok(method, rpc);
  return method.input;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
