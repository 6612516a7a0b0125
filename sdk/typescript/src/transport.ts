import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  Client,
  Metadata,
  type CallOptions as GrpcCallOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
} from "@grpc/grpc-js";

import type { Backoff } from "./backoff.js";
import { idempotencyKeyOrNew, type CallOptions, type CreateOptions } from "./calls.js";
import type { Connection } from "./connection.js";
import { cancelled, errorFromCall, RateLimited, type OctohooksError } from "./errors.js";
import { Pause } from "./pause.js";

/** What ends when the client is closed. */
export interface Cancellable {
  cancel(): void;
}

/** Carries calls out over one channel. */
export class Transport {
  readonly reconnect: Backoff;
  readonly #client: Client;
  readonly #authorization: string;
  readonly #timeoutSeconds: number;
  readonly #underWay = new Set<Cancellable>();
  #closed = false;

  constructor(connection: Connection, timeoutSeconds: number, reconnect: Backoff) {
    this.reconnect = reconnect;
    this.#client = new Client(connection.target, connection.credentials, connection.options);
    this.#authorization = connection.authorization;
    this.#timeoutSeconds = timeoutSeconds;
  }

  /** Makes a call, and gives up with an `OctohooksError`. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return this.#unary(method, request, this.#metadata(), options);
  }

  /** The same with an idempotency key. */
  async create<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CreateOptions = {},
  ): Promise<MessageShape<O>> {
    const metadata = this.#metadata();
    metadata.set("idempotency-key", idempotencyKeyOrNew(options.idempotencyKey));
    return this.#unary(method, request, metadata, options);
  }

  /** The items of a list; each page is asked for when it is needed. */
  async *list<I extends DescMessage, O extends DescMessage, T>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    items: (response: MessageShape<O>) => readonly T[],
    options?: CallOptions,
  ): AsyncGenerator<T, void, undefined> {
    const page = create(method.input, request) as MessageShape<I> & { pageToken: string };
    do {
      const response = await this.call(method, page as MessageInitShape<I>, options);
      yield* items(response);
      page.pageToken = (response as MessageShape<O> & { nextPageToken: string }).nextPageToken;
    } while (page.pageToken !== "");
  }

  /** Begins a stream of responses, which whoever reads it cancels. */
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): ClientReadableStream<MessageShape<O>> {
    this.#checkOpen();
    const stream = this.#client.makeServerStreamRequest(
      pathOf(method),
      asItIs,
      deserializer(method.output),
      serialized(method.input, request),
      this.#metadata(),
    );
    stream.once("status", this.track(stream));
    return stream;
  }

  /** Begins a stream of serialized requests and responses, which whoever reads it cancels. */
  bidiStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
  ): ClientDuplexStream<Buffer, MessageShape<O>> {
    this.#checkOpen();
    const stream = this.#client.makeBidiStreamRequest(
      pathOf(method),
      asItIs,
      deserializer(method.output),
      this.#metadata(),
    );
    stream.once("status", this.track(stream));
    return stream;
  }

  /** Has it cancelled with the client; call the answer once it has ended by itself. */
  track(cancellable: Cancellable): () => void {
    this.#underWay.add(cancellable);
    return () => this.#underWay.delete(cancellable);
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
    // Closing the channel alone lets what is under way go on.
    for (const call of this.#underWay) {
      call.cancel();
    }
    this.#client.close();
  }

  async #unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    metadata: Metadata,
    { timeoutSeconds = this.#timeoutSeconds, signal }: CallOptions,
  ): Promise<MessageShape<O>> {
    this.#checkOpen();
    if (signal?.aborted) {
      throw cancelled("the call was cancelled", signal.reason);
    }
    const serializedRequest = serialized(method.input, request);
    const deadline = Date.now() + timeoutSeconds * 1000;
    for (let refusals = 1; ; refusals += 1) {
      try {
        return await this.#once(method, serializedRequest, metadata, deadline, signal);
      } catch (error) {
        const pause = this.#pauseAfter(error, refusals);
        if (pause === undefined || Date.now() + pause * 1000 >= deadline) {
          throw error;
        }
        await this.#wait(pause, signal);
      }
    }
  }

  /** How many seconds to wait before the call is made again; undefined when it is not to be. */
  #pauseAfter(error: unknown, refusals: number): number | undefined {
    // Nothing of such a call was done, so that it can be made again.
    const again = error instanceof RateLimited && error.reason === "RATE_LIMITED";
    return again
      ? Math.max(error.retryAfterSeconds ?? 0, this.reconnect.delay(refusals))
      : undefined;
  }

  /** Waits, unless the call is cancelled or the client closed meanwhile. */
  async #wait(seconds: number, signal: AbortSignal | undefined): Promise<void> {
    const pause = new Pause();
    const end = (): void => pause.end();
    const untrack = this.track({ cancel: end });
    signal?.addEventListener("abort", end, { once: true });
    await pause.for(seconds);
    signal?.removeEventListener("abort", end);
    untrack();
    if (signal?.aborted) {
      throw cancelled("the call was cancelled", signal.reason);
    }
    this.#checkOpen();
  }

  #once<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    serializedRequest: Buffer,
    metadata: Metadata,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<MessageShape<O>> {
    const options: GrpcCallOptions = deadline === Infinity ? {} : { deadline };
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        pathOf(method),
        asItIs,
        deserializer(method.output),
        serializedRequest,
        metadata,
        options,
        (error, response) => {
          untrack();
          signal?.removeEventListener("abort", cancel);
          if (error === null && response !== undefined) {
            resolve(response);
          } else if (signal?.aborted) {
            reject(cancelled("the call was cancelled", signal.reason));
          } else if (this.#closed) {
            reject(clientClosed());
          } else {
            reject(errorFromCall(error));
          }
        },
      );
      const untrack = this.track(call);
      const cancel = (): void => call.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    metadata.set("authorization", this.#authorization);
    return metadata;
  }

  #checkOpen(): void {
    if (this.#closed) {
      throw clientClosed();
    }
  }
}

export function clientClosed(): OctohooksError {
  return cancelled("the client was closed");
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/**
 * The bytes of a request. They are made before the call begins, so that a value of the wrong type is
 * told as what it is and not as a status.
 *
 * @throws TypeError a field has a value of another type.
 */
export function serialized<D extends DescMessage>(schema: D, request: MessageInitShape<D>): Buffer {
  try {
    return Buffer.from(toBinary(schema, create(schema, request)));
  } catch (error) {
    throw new TypeError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function asItIs(bytes: Buffer): Buffer {
  return bytes;
}

function deserializer<D extends DescMessage>(schema: D): (bytes: Buffer) => MessageShape<D> {
  return (bytes) => fromBinary(schema, bytes);
}
