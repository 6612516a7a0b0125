import type { ClientDuplexStream } from "@grpc/grpc-js";

import { errorFromCall, isCut, OctohooksError, unavailable } from "./errors.js";
import {
  MessageService,
  type PublishMessagesResponse,
} from "./gen/octohooks/v1/message_service_pb.js";
import { Outbox, type Acknowledgement, type Outgoing } from "./outbox.js";
import { Pause } from "./pause.js";
import { clientClosed, type Transport } from "./transport.js";

type Stream = ClientDuplexStream<Buffer, PublishMessagesResponse>;

// With the usual backoff, a server that is away is waited for about a minute.
const MAX_FAILURES = 10;

/**
 * Sends the items over one stream after the other, until each is acknowledged, and gives the
 * acknowledgements.
 */
export async function* publish<T>(
  transport: Transport,
  items: Iterable<T> | AsyncIterable<T>,
  outgoing: (item: T) => Outgoing,
  window: number,
): AsyncGenerator<Acknowledgement, void, undefined> {
  const outbox = new Outbox(window);
  const source =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const reading = read(source, outgoing, outbox);
  // In a row, without an acknowledgement between them.
  let failures = 0;
  const pause = new Pause();
  const untrack = transport.track({ cancel: () => pause.end() });
  try {
    while (!outbox.done) {
      try {
        const call = transport.bidiStream(MessageService.method.publishMessages);
        for await (const acknowledgement of acknowledgements(call, outbox)) {
          failures = 0;
          yield acknowledgement;
        }
      } catch (error) {
        failures += 1;
        if (transport.closed) {
          throw clientClosed();
        }
        if (!(error instanceof OctohooksError) || !isCut(error) || failures >= MAX_FAILURES) {
          throw error;
        }
        await pause.for(transport.reconnect.delay(failures));
        outbox.restart();
      }
    }
    await reading;
    if (outbox.failure !== undefined) {
      throw outbox.failure;
    }
  } finally {
    untrack();
    outbox.abandon();
  }
}

/** Reads the items as fast as the outbox has room. It never fails: why it ended is in the outbox. */
async function read<T>(
  source: Iterator<T> | AsyncIterator<T>,
  outgoing: (item: T) => Outgoing,
  outbox: Outbox,
): Promise<void> {
  let exhausted = false;
  try {
    while (await outbox.room()) {
      const next = await source.next();
      if (next.done) {
        exhausted = true;
        break;
      }
      outbox.add(outgoing(next.value));
    }
    outbox.end();
  } catch (error) {
    outbox.end(error);
  }
  if (!exhausted) {
    // The source may hold a file or a connection open.
    await Promise.resolve(source.return?.()).catch(() => undefined);
  }
}

async function* acknowledgements(
  call: Stream,
  outbox: Outbox,
): AsyncGenerator<Acknowledgement, void, undefined> {
  // It never fails, and ends with the stream.
  void send(call, outbox);
  try {
    for await (const response of call) {
      yield outbox.acknowledge(response as PublishMessagesResponse);
    }
  } catch (error) {
    throw errorFromCall(error);
  } finally {
    call.cancel();
  }
  if (!outbox.done) {
    throw unavailable("the server ended the stream before it had acknowledged every message");
  }
}

async function send(call: Stream, outbox: Outbox): Promise<void> {
  const stream = outbox.stream;
  let ended = false;
  const end = new Promise<void>((resolve) => {
    call.once("status", () => {
      ended = true;
      resolve();
    });
  });
  for (;;) {
    const outgoing = await outbox.take(stream);
    if (outgoing === undefined || ended) {
      break;
    }
    if (!call.write(outgoing.bytes)) {
      await Promise.race([end, new Promise<void>((resolve) => call.once("drain", resolve))]);
    }
  }
  call.end();
}
