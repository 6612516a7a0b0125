import { errorFromFailure, type OctohooksError } from "./errors.js";
import type { Message } from "./gen/octohooks/v1/message_pb.js";
import type {
  CreateMessageResult,
  PublishMessagesResponse,
} from "./gen/octohooks/v1/message_service_pb.js";

/** What became of one published message. */
export interface Acknowledgement {
  /** Which message of the iterable it is: the first one is 1. */
  number: number;
  /** The key that the message carried. */
  idempotencyKey: string;
  /** The message as it was stored, without its payload, or why it was refused. */
  result: Message | OctohooksError;
}

/** A message on its way. */
export interface Outgoing {
  bytes: Buffer;
  idempotencyKey: string;
}

/** The message, or the error that a call for it alone would have failed with. */
export function messageOrError({ result }: CreateMessageResult): Message | OctohooksError {
  switch (result.case) {
    case "message":
      return result.value;
    case "failure":
      return errorFromFailure(result.value);
    default:
      throw new TypeError("the server answered neither a message nor a failure");
  }
}

/** The messages under way, from the one that is acknowledged next on. */
export class Outbox {
  /** Numbers the streams over which the messages are sent; a stream that is not this one ends. */
  stream = 0;
  failure: unknown;
  #ended = false;
  #sent = 0;
  #acknowledged = 0;
  readonly #underWay: Outgoing[] = [];
  readonly #window: number;
  #waiting: (() => void)[] = [];

  constructor(window: number) {
    this.#window = window;
  }

  /** Returns when another message may come; false when none is wanted any more. */
  async room(): Promise<boolean> {
    await this.#until(() => this.#underWay.length < this.#window || this.#ended);
    return !this.#ended;
  }

  add(outgoing: Outgoing): void {
    this.#underWay.push(outgoing);
    this.#changed();
  }

  /** No more messages come, and perhaps why. */
  end(failure?: unknown): void {
    this.#ended = true;
    this.failure = failure;
    this.#changed();
  }

  /** What this stream sends next, as soon as there is something; undefined to end it. */
  async take(stream: number): Promise<Outgoing | undefined> {
    await this.#until(
      () => this.#sent < this.#underWay.length || this.#ended || stream !== this.stream,
    );
    if (stream !== this.stream || this.#sent === this.#underWay.length) {
      return undefined;
    }
    this.#sent += 1;
    return this.#underWay[this.#sent - 1];
  }

  /** Takes out the message that was sent first: acknowledgements come in order. */
  acknowledge(response: PublishMessagesResponse): Acknowledgement {
    const outgoing = this.#underWay.shift();
    if (outgoing === undefined || response.result === undefined) {
      throw new TypeError("the server acknowledged what was not sent");
    }
    this.#sent -= 1;
    this.#acknowledged += 1;
    this.#changed();
    return {
      number: this.#acknowledged,
      idempotencyKey: outgoing.idempotencyKey,
      result: messageOrError(response.result),
    };
  }

  get done(): boolean {
    return this.#ended && this.#underWay.length === 0;
  }

  /** Nobody waits for acknowledgements any more: whatever reads or sends for it ends. */
  abandon(): void {
    this.#ended = true;
    this.restart();
  }

  /** Everything under way is to be sent again, on another stream. */
  restart(): void {
    this.stream += 1;
    this.#sent = 0;
    this.#changed();
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) {
      resolve();
    }
  }
}
