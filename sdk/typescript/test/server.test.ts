/**
 * The whole way, with a real server. Whoever runs the tests starts it: `OCTOHOOKS_TARGET` names it,
 * `OCTOHOOKS_API_KEY` is the operator's key, and it may send to loopback.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import {
  AlreadyExists,
  Backoff,
  FailedPrecondition,
  InvalidArgument,
  NotFound,
  Octohooks,
  OctohooksError,
  OutOfRange,
  PermissionDenied,
  ResourceExhausted,
  timestampDate,
  Unauthenticated,
  Webhook,
  type Watch,
} from "octohooks";
import {
  AttemptOutcome,
  DeliveryStatus,
  RoutingRule,
  SignatureType,
  type AttemptEvent,
} from "octohooks/v1";

import { Proxy } from "./proxy.js";
import { Receiver } from "./receiver.js";
import { all } from "./setup.js";

const target = process.env["OCTOHOOKS_TARGET"];
const skip = target === undefined && "OCTOHOOKS_TARGET names no server";

describe("with a real server", { skip }, () => {
  const operator = target === undefined ? undefined! : new Octohooks();
  let octohooks: Octohooks;
  let apiKey: string;
  let receiver: Receiver;

  before(() => assert.ok(target));
  after(() => operator.close());
  beforeEach(async () => {
    const environment = await operator.environment.create({
      name: "TypeScript",
      retrySchedule: [0, 0],
    });
    apiKey = (await operator.apiKey.create({ environment: environment.id, name: "test" })).key;
    octohooks = new Octohooks(apiKey);
    receiver = await Receiver.start();
  });
  afterEach(() => {
    octohooks.close();
    receiver.stop();
  });

  async function endpoint(values: object = {}): Promise<void> {
    await octohooks.application.update("some-user", { name: "Some User" });
    await octohooks.endpoint.create("some-user", { url: receiver.url, uid: "main", ...values });
  }

  test("a message reaches its endpoint, signed, and the watch shows it", async () => {
    await endpoint({ eventTypes: ["invoice.paid"] });
    const watch = octohooks.attempt.watch({ application: "some-user" });
    await watch.waitUntilLive();

    const sent = await octohooks.message.create("some-user", {
      eventType: "invoice.paid",
      payload: { id: 1, name: "Zoë" },
    });

    for await (const { event } of watch) {
      assert.ok(event.case === "attempt");
      assert.equal(event.value.message, sent.id);
      assert.equal(event.value.outcome, AttemptOutcome.SUCCEEDED);
      assert.equal(event.value.responseStatus, 204);
      assert.ok(
        event.value.startTime &&
          timestampDate(event.value.startTime) <= new Date(Date.now() + 60_000),
      );
      break;
    }
    const [post] = await receiver.received(1);
    const [secret] = await octohooks.endpoint.secret("some-user", "main");
    assert.ok(post && secret);
    assert.equal(post.body.toString(), '{"id":1,"name":"Zoë"}');
    assert.equal(post.headers["webhook-id"], sent.id);
    assert.deepEqual(new Webhook(secret.secret).verify(post.body, post.headers), {
      id: 1,
      name: "Zoë",
    });
    assert.throws(() => new Webhook(secret.secret).verify(`${post.body} `, post.headers));
  });

  test("an Ed25519 endpoint's messages verify with its public key", async () => {
    await endpoint({ signatureType: "ed25519" });
    await octohooks.message.create("some-user", { eventType: "x", payload: "[1]" });
    const [post] = await receiver.received(1);
    const [secret] = await octohooks.endpoint.secret("some-user", "main");
    assert.ok(post && secret);
    assert.equal(secret.signatureType, SignatureType.ED25519);
    assert.match(secret.secret, /^whpk_/);
    assert.deepEqual(new Webhook(secret.secret).verify(post.body, post.headers), [1]);
  });

  test("during a rotation a message verifies with the old secret and with the new one", async () => {
    await endpoint();
    const [old] = await octohooks.endpoint.secret("some-user", "main");
    const secrets = await octohooks.endpoint.rotateSecret("some-user", "main", { overlap: 3600 });
    assert.equal(secrets.length, 2);
    assert.equal(secrets[1]?.secret, old?.secret);
    await octohooks.message.create("some-user", { eventType: "x", payload: {} });
    const [post] = await receiver.received(1);
    assert.ok(post);
    for (const { secret } of secrets) {
      assert.deepEqual(new Webhook(secret).verify(post.body, post.headers), {});
    }
  });

  test("a list pages by itself through all there is, once each", async () => {
    const names = Array.from({ length: 23 }, (_, index) => `customer-${index}`);
    for (const uid of names) {
      await octohooks.application.create({ uid });
    }
    const listed = await all(octohooks.application.list({ pageSize: 5 }));
    assert.deepEqual(
      listed.map(({ uid }) => uid),
      names,
    );
  });

  test("errors have their classes, reasons and fields", async () => {
    await assert.rejects(octohooks.application.get("nobody"), (error) => {
      assert.ok(error instanceof NotFound);
      assert.equal(error.reason, "NOT_FOUND");
      assert.equal(error.resource?.resourceName, "nobody");
      return true;
    });
    await assert.rejects(
      octohooks.endpoint.create("nobody", { url: "no url", rateLimit: 100_001 }),
      (error) => {
        assert.ok(error instanceof InvalidArgument);
        assert.deepEqual(error.violations.map(({ field }) => field).sort(), [
          "endpoint.rate_limit",
          "endpoint.url",
        ]);
        return true;
      },
    );
    await octohooks.application.create({ uid: "some-user" });
    await assert.rejects(octohooks.application.create({ uid: "some-user" }), AlreadyExists);
    await assert.rejects(octohooks.environment.create({ name: "x" }), PermissionDenied);
    await assert.rejects(new Octohooks("wrong").application.get("x"), Unauthenticated);
    await assert.rejects(
      octohooks.message.create("some-user", {
        eventType: "x",
        payload: { text: "x".repeat(360 * 1024) },
      }),
      (error) => error instanceof ResourceExhausted && error.reason === "PAYLOAD_TOO_LARGE",
    );
  });

  test("a create that is repeated with its idempotency key makes one entity", async () => {
    const idempotencyKey = randomUUID();
    const [one, two] = await Promise.all([
      octohooks.application.create({ name: "A" }, { idempotencyKey }),
      octohooks.application.create({ name: "A" }, { idempotencyKey }),
    ]);
    assert.equal(one.id, two.id);
    await assert.rejects(
      octohooks.application.create({ name: "B" }, { idempotencyKey }),
      FailedPrecondition,
    );
  });

  test("an update changes what is given, and null clears", async () => {
    await octohooks.application.update("some-user", {
      name: "A",
      rateLimit: 5,
      metadata: { plan: "pro" },
    });
    const changed = await octohooks.application.update("some-user", {
      rateLimit: null,
      name: undefined,
    });
    assert.deepEqual(
      [changed.name, changed.rateLimit, changed.metadata],
      ["A", 0, { plan: "pro" }],
    );
    await assert.rejects(
      octohooks.application.update("other", {}, { allowMissing: false }),
      NotFound,
    );
  });

  test("a batch answers each message's own result", async () => {
    const [refused, sent] = await octohooks.message.createBatch([
      { application: "nobody", eventType: "x", payload: {} },
      { application: "lazy", eventType: "x", payload: {}, inlineApplication: { name: "Lazy" } },
    ]);
    assert.ok(refused instanceof NotFound);
    assert.ok(sent && !(sent instanceof OctohooksError));
    assert.equal((await octohooks.application.get("lazy")).name, "Lazy");
  });

  test("explain, deliveries, attempts and resending tell what became of a message", async () => {
    await endpoint({ eventTypes: ["invoice.paid"] });
    await octohooks.endpoint.create("some-user", {
      url: receiver.url,
      uid: "other",
      eventTypes: ["x"],
    });
    receiver.status = 500;
    const watch = octohooks.attempt.watch();
    await watch.waitUntilLive();
    const sent = await octohooks.message.create("some-user", {
      eventType: "invoice.paid",
      payload: {},
    });
    assert.deepEqual(attemptNumbers(await take(2, watch)), [1, 2]);
    const rules = (await all(octohooks.message.explain("some-user", sent.id))).map(
      ({ rule }) => rule,
    );
    assert.deepEqual(rules, [RoutingRule.MATCHED, RoutingRule.EVENT_TYPE]);
    const about = { application: "some-user", message: sent.id, endpoint: "main" };
    const [delivery] = await all(
      octohooks.delivery.list({ message: sent.id, statuses: ["failed"] }),
    );
    assert.equal(delivery?.attemptCount, 2);

    receiver.status = 200;
    await octohooks.delivery.resend(about);
    assert.deepEqual(attemptNumbers(await take(1, watch)), [3]);
    watch.close();
    assert.equal((await octohooks.delivery.get(about)).status, DeliveryStatus.SUCCEEDED);
    const attempts = await all(octohooks.attempt.list({ message: sent.id }));
    assert.deepEqual(
      attempts.map(({ number }) => number),
      [3, 2, 1],
    );
    const whole = await octohooks.attempt.get(attempts[0]?.id ?? "");
    assert.ok(whole.responseHeaders.length > 0);
    const stats = await octohooks.endpoint.stats("some-user", "main");
    assert.equal(stats.failedAttempts, 2n);
  });

  test("a job replays to a new endpoint what it never got", async () => {
    await octohooks.application.update("some-user", {});
    const since = new Date(Date.now() - 60_000);
    await octohooks.message.create("some-user", { eventType: "x", payload: { id: 1 } });
    await octohooks.endpoint.create("some-user", { url: receiver.url, uid: "late" });
    const job = await octohooks.endpoint.replay("some-user", "late", { since });
    await receiver.received(1);
    assert.equal((await octohooks.job.get(job.id)).id, job.id);
  });

  test("operational webhooks and event types work", async () => {
    const made = await octohooks.operationalWebhook.create({
      url: receiver.url,
      eventTypes: ["endpoint.created"],
    });
    await endpoint();
    const [post] = await receiver.received(1);
    const [secret] = await octohooks.operationalWebhook.secret(made.id);
    assert.ok(post && secret);
    const notification = new Webhook(secret.secret).verify<{ type: string }>(
      post.body,
      post.headers,
    );
    assert.equal(notification.type, "endpoint.created");

    await octohooks.eventType.create({ name: "invoice.paid", examples: [{ id: 7 }] });
    await octohooks.endpoint.sendExample("some-user", "main", { eventType: "invoice.paid" });
    const [, example] = await receiver.received(2);
    assert.equal(example?.body.toString(), '{"id":7}');
  });

  test("publishing survives cuts: every message is acknowledged once, and made once", async () => {
    await octohooks.application.update("some-user", {});
    const proxy = await Proxy.start(target ?? "");
    const client = new Octohooks(apiKey, {
      target: proxy.target,
      reconnect: new Backoff({ initialSeconds: 0.01 }),
    });
    function* messages(): Generator<{
      application: string;
      eventType: string;
      payload: object;
      uid: string;
    }> {
      for (let number = 1; number <= 300; number += 1) {
        yield { application: "some-user", eventType: "x", payload: { number }, uid: `m-${number}` };
      }
    }
    const acknowledged: string[] = [];
    for await (const { number, result } of client.message.publish(messages(), { window: 20 })) {
      assert.ok(!(result instanceof OctohooksError), String(result));
      acknowledged.push(result.uid);
      if (number % 100 === 50) {
        proxy.cut();
      }
    }
    client.close();
    proxy.stop();
    const expected = Array.from({ length: 300 }, (_, index) => `m-${index + 1}`);
    assert.deepEqual(acknowledged, expected);
    // What is stored in one millisecond has no order.
    const stored = (await all(octohooks.message.list("some-user", { pageSize: 250 }))).map(
      ({ uid }) => uid,
    );
    assert.deepEqual(stored.sort(), expected.sort());
  });

  test("a watch survives cuts: every attempt once, in the order of the server", async () => {
    await endpoint();
    const proxy = await Proxy.start(target ?? "");
    const client = new Octohooks(apiKey, {
      target: proxy.target,
      reconnect: new Backoff({ initialSeconds: 0.01 }),
    });
    const watch = client.attempt.watch();
    await watch.waitUntilLive();
    const messages = Array.from({ length: 60 }, (_, number) => ({
      application: "some-user",
      eventType: "x",
      payload: { number },
    }));
    await octohooks.message.createBatch(messages);
    const seen: AttemptEvent[] = [];
    while (seen.length < 60) {
      seen.push(...(await take(10, watch)));
      proxy.cut();
    }
    const { resumeToken } = watch;
    client.close();
    proxy.stop();

    const undisturbed = octohooks.attempt.watch({ since: new Date(Date.now() - 3_600_000) });
    assert.deepEqual(ids(seen), ids(await take(60, undisturbed)));
    undisturbed.close();

    await octohooks.message.create("some-user", { eventType: "last", payload: {} });
    const resumed = octohooks.attempt.watch({ resumeToken });
    const [last] = await take(1, resumed);
    resumed.close();
    assert.ok(last?.event.case === "attempt");
    assert.equal(last.event.value.eventType, "last");
  });

  test("a watch ends when its key is revoked, and is refused with an altered token", async () => {
    const watch = octohooks.attempt.watch();
    await watch.waitUntilLive();
    const altered = octohooks.attempt.watch({ resumeToken: `${watch.resumeToken}x` });
    await assert.rejects(
      altered.next(),
      (error) => error instanceof InvalidArgument || error instanceof OutOfRange,
    );
    const [key] = await all(octohooks.apiKey.list());
    await octohooks.apiKey.revoke(key?.id ?? "");
    await assert.rejects(watch.next(), Unauthenticated);
  });
});

async function take(count: number, watch: Watch): Promise<AttemptEvent[]> {
  const events: AttemptEvent[] = [];
  while (events.length < count) {
    const { value } = await watch.next();
    assert.ok(value);
    events.push(value);
  }
  return events;
}

function ids(events: AttemptEvent[]): string[] {
  return events.map(({ event }) => (event.case === "attempt" ? event.value.id : ""));
}

function attemptNumbers(events: AttemptEvent[]): number[] {
  return events.map(({ event }) => (event.case === "attempt" ? event.value.number : 0));
}
