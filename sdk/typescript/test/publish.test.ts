/** Publishing: what is sent, what comes back, and what happens after a cut. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import {
  Cancelled,
  NotFound,
  OctohooksError,
  Unavailable,
  type Acknowledgement,
  type PublishedMessage,
} from "octohooks";
import {
  PublishMessagesResponseSchema,
  type PublishMessagesRequest,
  type PublishMessagesResponse,
} from "octohooks/v1";

import { leftWaitingAtAStop, Refusal, unavailable, type Received } from "./fakeServer.js";
import { all, Happening, Setup } from "./setup.js";

const setup = new Setup();

function message(uid: string, values: Partial<PublishedMessage> = {}): PublishedMessage {
  return { application: "some-user", eventType: "invoice.paid", payload: { uid }, uid, ...values };
}

function messages(count: number): PublishedMessage[] {
  return Array.from({ length: count }, (_, index) => message(String(index + 1)));
}

function results(acknowledgements: Acknowledgement[]): string[] {
  return acknowledgements.map(({ result }) =>
    result instanceof OctohooksError ? result.message : result.uid,
  );
}

type Stream = (received: Received) => AsyncGenerator<PublishMessagesResponse>;

/** Keeps messages by their keys, as the real server does. */
class Store {
  readonly received: PublishMessagesRequest[] = [];
  readonly #uidsByKey = new Map<string, string>();

  get uids(): string[] {
    return [...this.#uidsByKey.values()];
  }

  readonly toTheEnd: Stream = async function* (this: Store, { requests }: Received) {
    let number = 0;
    for await (const request of requests as AsyncIterable<PublishMessagesRequest>) {
      number += 1;
      yield this.accept(request, number);
    }
  }.bind(this);

  /** A stream that stores one message more than it acknowledges, and is cut. */
  cutAfter(count: number): Stream {
    return async function* (this: Store, { requests }: Received) {
      let number = 0;
      for await (const request of requests as AsyncIterable<PublishMessagesRequest>) {
        number += 1;
        const response = this.accept(request, number);
        if (number > count) {
          throw unavailable();
        }
        yield response;
      }
    }.bind(this);
  }

  accept(request: PublishMessagesRequest, number: number): PublishMessagesResponse {
    this.received.push(request);
    const uid = request.message?.message?.uid ?? "";
    if (uid.startsWith("refused")) {
      const failure = { code: status.NOT_FOUND, message: `no ${uid}` };
      return create(PublishMessagesResponseSchema, {
        number: BigInt(number),
        result: { result: { case: "failure", value: failure } },
      });
    }
    this.#uidsByKey.set(request.idempotencyKey, uid);
    return create(PublishMessagesResponseSchema, {
      number: BigInt(number),
      result: { result: { case: "message", value: { uid } } },
    });
  }
}

function inTurn(...streams: Stream[]): void {
  setup.server.on("PublishMessages", (received) => {
    const stream = streams.shift();
    assert.ok(stream, "one stream more than expected");
    return stream(received);
  });
}

test("each message is acknowledged in its order", async () => {
  const store = new Store();
  inTurn(store.toTheEnd);
  const acknowledgements = await all(setup.client.message.publish(messages(250)));
  assert.deepEqual(
    acknowledgements.map(({ number }) => number),
    Array.from({ length: 250 }, (_, index) => index + 1),
  );
  assert.deepEqual(results(acknowledgements), store.uids);
});

test("each message carries an idempotency key, its own or a new one", async () => {
  const store = new Store();
  inTurn(store.toTheEnd);
  const given = [message("1", { idempotencyKey: "mine" }), message("2"), message("3")];
  const acknowledgements = await all(setup.client.message.publish(given));
  const keys = store.received.map(({ idempotencyKey }) => idempotencyKey);
  assert.equal(keys[0], "mine");
  assert.equal(new Set(keys).size, 3);
  assert.deepEqual(
    acknowledgements.map(({ idempotencyKey }) => idempotencyKey),
    keys,
  );
});

test("publishing nothing ends at once", async () => {
  inTurn(new Store().toTheEnd);
  assert.deepEqual(await all(setup.client.message.publish([])), []);
});

test("a message that is refused does not keep the others from being sent", async () => {
  inTurn(new Store().toTheEnd);
  const acknowledgements = await all(
    setup.client.message.publish([message("1"), message("refused-2"), message("3")]),
  );
  assert.deepEqual(results(acknowledgements), ["1", "no refused-2", "3"]);
  assert.ok(acknowledgements[1]?.result instanceof NotFound);
});

test("no more messages are read than the window holds", async () => {
  let read = 0;
  function* counted(): Generator<PublishedMessage> {
    for (const one of messages(20)) {
      read += 1;
      yield one;
    }
  }
  const store = new Store();
  const open = new Happening();
  const third = new Happening();
  inTurn(async function* ({ requests }) {
    let number = 0;
    for await (const request of requests as AsyncIterable<PublishMessagesRequest>) {
      number += 1;
      if (number === 3) {
        third.happen();
        await open.happened;
      }
      yield store.accept(request, number);
    }
  });
  const acknowledgements = setup.client.message.publish(counted(), { window: 3 });
  await acknowledgements.next();
  await acknowledgements.next();
  await third.happened;
  assert.ok(read <= 5, `${read} were read`);
  open.happen();
  assert.equal((await all(acknowledgements)).length, 18);
  assert.equal(read, 20);
});

test("a message is acknowledged while the next one is not there yet", async () => {
  inTurn(new Store().toTheEnd);
  const second = new Happening();
  async function* asTheyCome(): AsyncGenerator<PublishedMessage> {
    yield message("1");
    await second.happened;
    yield message("2");
  }
  const acknowledgements = setup.client.message.publish(asTheyCome());
  assert.equal((await acknowledgements.next()).value?.number, 1);
  second.happen();
  assert.deepEqual(results(await all(acknowledgements)), ["2"]);
});

test("what is not acknowledged before a cut is sent again with the same keys", async () => {
  const store = new Store();
  inTurn(store.cutAfter(3), store.cutAfter(2), store.toTheEnd);
  const acknowledgements = await all(setup.client.message.publish(messages(10), { window: 4 }));
  assert.deepEqual(
    acknowledgements.map(({ number }) => number),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  assert.deepEqual(results(acknowledgements), store.uids);
  assert.equal(store.uids.length, 10);
  // Of each cut stream one message was stored and not acknowledged, and came again.
  assert.equal(store.received.length, 12);
});

test("a server that ends the stream early is connected to again", async () => {
  const store = new Store();
  inTurn(async function* ({ requests }) {
    for await (const request of requests as AsyncIterable<PublishMessagesRequest>) {
      yield store.accept(request, 1);
      return;
    }
  }, store.toTheEnd);
  assert.deepEqual(results(await all(setup.client.message.publish(messages(3)))), ["1", "2", "3"]);
});

test("a stream that a stopping server never began is sent to the next one", async () => {
  const leftWaiting: Stream = async function* () {
    throw leftWaitingAtAStop();
  };
  const store = new Store();
  inTurn(leftWaiting, store.cutAfter(1), leftWaiting, store.toTheEnd);
  assert.deepEqual(results(await all(setup.client.message.publish(messages(3)))), ["1", "2", "3"]);
});

test("closing the client ends publishing without another try", async () => {
  const arrived = new Happening();
  inTurn(async function* ({ cancelled }) {
    arrived.happen();
    await cancelled;
  });
  const publishing = setup.client.message.publish(messages(3)).next();
  await arrived.happened;
  setup.client.close();
  await assert.rejects(publishing, Cancelled);
  assert.equal(setup.server.received.length, 1);
});

test("publishing is given up when nothing is acknowledged ten times in a row", async () => {
  const cut: Stream = async function* () {
    throw unavailable();
  };
  inTurn(new Store().cutAfter(1), ...Array<Stream>(10).fill(cut));
  const acknowledgements = setup.client.message.publish(messages(3));
  assert.equal((await acknowledgements.next()).value?.number, 1);
  await assert.rejects(acknowledgements.next(), Unavailable);
  assert.equal(setup.server.received.length, 10);
});

test("other refusals end publishing", async () => {
  inTurn(async function* () {
    throw new Refusal(status.NOT_FOUND, "no such thing");
  });
  await assert.rejects(setup.client.message.publish(messages(3)).next(), NotFound);
});

class BrokenSource extends Error {}

test("an error of the iterable comes out after the acknowledgements of what it gave", async () => {
  const store = new Store();
  inTurn(store.toTheEnd);
  async function* broken(): AsyncGenerator<PublishedMessage> {
    yield* messages(2);
    throw new BrokenSource();
  }
  const acknowledgements = setup.client.message.publish(broken());
  assert.equal((await acknowledgements.next()).value?.number, 1);
  assert.equal((await acknowledgements.next()).value?.number, 2);
  await assert.rejects(acknowledgements.next(), BrokenSource);
  assert.deepEqual(store.uids, ["1", "2"]);
});

for (const values of [{ nmae: "x" }, { payload: 5 }, { uid: 5 }, { idempotencyKey: "a b" }]) {
  test(`a message that cannot be sent comes out as the error that it is: ${JSON.stringify(values)}`, async () => {
    const store = new Store();
    inTurn(store.toTheEnd);
    const given = [message("1"), message("2", values as never)];
    const acknowledgements = setup.client.message.publish(given);
    assert.equal((await acknowledgements.next()).value?.number, 1);
    await assert.rejects(acknowledgements.next(), TypeError);
    assert.deepEqual(store.uids, ["1"]);
  });
}

test("a window of less than one is refused", () => {
  assert.throws(() => setup.client.message.publish([], { window: 0 }), RangeError);
});

test("leaving the loop ends the stream and the reading, and closes the source", async () => {
  const left = new Happening();
  const closed = new Happening();
  const store = new Store();
  inTurn(async function* ({ requests, cancelled }) {
    for await (const request of requests as AsyncIterable<PublishMessagesRequest>) {
      yield store.accept(request, 1);
      break;
    }
    await cancelled;
    left.happen();
  });
  let read = 0;
  function* endless(): Generator<PublishedMessage> {
    try {
      for (;;) {
        read += 1;
        yield message(String(read));
      }
    } finally {
      closed.happen();
    }
  }
  for await (const _ of setup.client.message.publish(endless(), { window: 5 })) {
    break;
  }
  await left.happened;
  await closed.happened;
  assert.ok(read <= 6, `${read} were read`);
});

test("large messages are sent as fast as they are taken", async () => {
  const store = new Store();
  inTurn(store.toTheEnd);
  const payload = JSON.stringify("x".repeat(300_000));
  const given = messages(60).map((one) => ({ ...one, payload }));
  assert.equal((await all(setup.client.message.publish(given))).length, 60);
});
