import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ClientReadableStream } from "@grpc/grpc-js";

import type { Backoff } from "./backoff.js";
import { cancelled, errorFromCall, isCut, OctohooksError, unavailable } from "./errors.js";
import {
  AttemptService,
  type AttemptEvent,
  type WatchAttemptsRequest,
  type WatchAttemptsRequestSchema,
  type WatchAttemptsResponse,
} from "./gen/octohooks/v1/attempt_service_pb.js";
import { Pause } from "./pause.js";
import type { Transport } from "./transport.js";

/** Where a watch stands, what is at hand, and what follows from a cut. */
class Position {
  live = false;
  resumeToken: string;
  readonly #request: WatchAttemptsRequest;
  readonly #reconnect: Backoff;
  #events: AttemptEvent[] = [];
  #tokenAfterEvents: string;
  #failures = 0;

  constructor(request: WatchAttemptsRequest, reconnect: Backoff) {
    this.#request = request;
    this.#reconnect = reconnect;
    this.resumeToken = request.start.case === "resumeToken" ? request.start.value : "";
    this.#tokenAfterEvents = this.resumeToken;
  }

  nextRequest(): MessageInitShape<typeof WatchAttemptsRequestSchema> {
    if (!this.live) {
      return this.#request;
    }
    // An empty token says that the server cannot resume yet; what is left is to go on from now, as
    // the first start may lie far back.
    const start = this.#tokenAfterEvents
      ? ({ case: "resumeToken", value: this.#tokenAfterEvents } as const)
      : ({ case: undefined } as const);
    return { ...this.#request, start };
  }

  receive(response: WatchAttemptsResponse): void {
    this.live = true;
    this.#failures = 0;
    // The first one is taken out next.
    this.#events = [...this.#events, ...response.events];
    this.#tokenAfterEvents = response.resumeToken;
    if (this.#events.length === 0) {
      this.resumeToken = response.resumeToken;
    }
  }

  nextEvent(): AttemptEvent | undefined {
    const event = this.#events.shift();
    if (event !== undefined && this.#events.length === 0) {
      this.resumeToken = this.#tokenAfterEvents;
    }
    return event;
  }

  /** The seconds to wait before connecting again; undefined when that would not help. */
  waitAfter(error: OctohooksError): number | undefined {
    if (!this.live || !isCut(error)) {
      return undefined;
    }
    this.#failures += 1;
    return this.#reconnect.delay(this.#failures);
  }
}

/**
 * Events as they happen: `for await (const event of watch)`. It connects when the first one is asked
 * for.
 *
 * After a cut it connects again, as often as it takes, and goes on after the last event that it
 * received, so none is missed or repeated. Other errors come out of the iteration and end it, and so
 * does a server that cannot be reached to begin with.
 *
 * It ends when it is closed: by leaving the loop, by `close`, or with its client.
 */
export class Watch implements AsyncIterableIterator<AttemptEvent> {
  readonly #transport: Transport;
  readonly #position: Position;
  readonly #pause = new Pause();
  #untrack: (() => void) | undefined;
  #call: ClientReadableStream<WatchAttemptsResponse> | undefined;
  #responses: AsyncIterator<unknown> | undefined;
  #receiving: Promise<boolean> | undefined;
  #lastStep: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** Watches are made by `attempt.watch`. */
  constructor(transport: Transport, request: WatchAttemptsRequest) {
    this.#transport = transport;
    this.#position = new Position(request, transport.reconnect);
  }

  /**
   * Goes on, in a later watch, after the events that this one has given so far. Several can come in
   * one response; in the middle of one the token is the one before it, so that a later watch repeats
   * some rather than missing any. Store it after handling the event. Empty until there is one.
   */
  get resumeToken(): string {
    return this.#position.resumeToken;
  }

  /**
   * Returns once the server has said that it watches: nothing that happens after this is missed. It
   * fails with what the server refuses it for, and with `Cancelled` when the watch is closed.
   */
  async waitUntilLive(): Promise<void> {
    while (!this.#position.live) {
      if (!(await this.#receive())) {
        throw cancelled("the watch is closed");
      }
    }
  }

  /** The next event. Several can be asked for at a time; they are answered in order. */
  next(): Promise<IteratorResult<AttemptEvent, undefined>> {
    const step = this.#lastStep.then(() => this.#next());
    this.#lastStep = step.catch(() => undefined);
    return step;
  }

  /** Closes the watch; leaving a loop calls it. */
  async return(): Promise<IteratorResult<AttemptEvent, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  /** Ends the watch. An iteration that waits for the next event ends too. */
  close(): void {
    this.#closed = true;
    this.#pause.end();
    this.#call?.cancel();
    this.#untrack?.();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #next(): Promise<IteratorResult<AttemptEvent, undefined>> {
    while (!this.#closed) {
      const event = this.#position.nextEvent();
      if (event !== undefined) {
        return { done: false, value: event };
      }
      await this.#receive();
    }
    return { done: true, value: undefined };
  }

  /** Takes in the next response, for all who wait for it; false once the watch is closed. */
  #receive(): Promise<boolean> {
    this.#receiving ??= this.#receiveOne().finally(() => {
      this.#receiving = undefined;
    });
    return this.#receiving;
  }

  /** Takes in the next response, over a new connection when the old one was cut. */
  async #receiveOne(): Promise<boolean> {
    this.#untrack ??= this.#transport.track({ cancel: () => this.close() });
    while (!this.#closed) {
      try {
        const response = await this.#nextResponse();
        this.#position.receive(response);
        return true;
      } catch (error) {
        this.#call = this.#responses = undefined;
        if (this.#closed) {
          return false;
        }
        const wait = error instanceof OctohooksError ? this.#position.waitAfter(error) : undefined;
        if (wait === undefined) {
          this.close();
          throw error;
        }
        await this.#pause.for(wait);
      }
    }
    return false;
  }

  async #nextResponse(): Promise<WatchAttemptsResponse> {
    if (this.#responses === undefined) {
      const { watchAttempts } = AttemptService.method;
      this.#call = this.#transport.serverStream(watchAttempts, this.#position.nextRequest());
      this.#responses = this.#call[Symbol.asyncIterator]();
    }
    let result: IteratorResult<unknown, unknown>;
    try {
      result = await this.#responses.next();
    } catch (error) {
      throw errorFromCall(error);
    }
    if (result.done) {
      throw unavailable("the server ended the watch");
    }
    return result.value as WatchAttemptsResponse;
  }
}
