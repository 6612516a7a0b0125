import type { EventEmitter } from "node:events";
import type { Readable } from "node:stream";

import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescService,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import * as v1 from "octohooks/v1";

import { StatusSchema } from "../dist/gen/google/rpc/status_pb.js";

/** The descriptor of each service of the API. */
export const SERVICES = Object.values(v1).filter(
  (value): value is Extract<typeof value, DescService> =>
    typeof value === "object" && "kind" in value && value.kind === "service",
) as readonly DescService[];

/** One call as it arrived. */
export interface Received {
  method: string;
  /** What was asked; undefined for a stream of requests. */
  request: Message | undefined;
  /** The requests of a stream, as they come. */
  requests: AsyncIterable<Message>;
  metadata: Metadata;
  /** When the caller stops waiting; undefined when it does not say. */
  deadline: Date | undefined;
  /** Settled once the caller is gone or has hung up. */
  cancelled: Promise<void>;
}

/** What a handler throws to end a call as the real server does. */
export class Refusal extends Error {
  readonly metadata = new Metadata();

  constructor(
    readonly code: number,
    readonly details = "no",
    ...rich: readonly (readonly [DescMessage, Message])[]
  ) {
    super(details);
    const packed = rich.map(([schema, message]) => anyPack(schema, message));
    const rpcStatus = create(StatusSchema, { code, message: details, details: packed });
    this.metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, rpcStatus)));
  }
}

/** Ends a call as gRPC ends those that a stopping server has not begun yet. */
export function leftWaitingAtAStop(): Refusal {
  return new Refusal(status.CANCELLED, "CANCELLED");
}

export function unavailable(): Refusal {
  return new Refusal(status.UNAVAILABLE, "shutting down");
}

type Implementation =
  | handleUnaryCall<Message, Message>
  | handleServerStreamingCall<Message, Message>
  | handleBidiStreamingCall<Message, Message>;

type Answer = Message | Promise<Message> | AsyncIterable<Message>;
export type Handler = (received: Received) => Answer;

/** Answers every RPC of the API, with an empty response unless `on` says otherwise. */
export class FakeServer {
  readonly received: Received[] = [];
  readonly #server = new Server();
  readonly #handlers = new Map<string, Handler>();
  target = "";

  private constructor() {
    for (const service of SERVICES) {
      const definition: Record<string, ServiceDefinition[string]> = {};
      const implementation: Record<string, Implementation> = {};
      for (const method of service.methods) {
        definition[method.name] = definitionOf(method);
        implementation[method.name] = this.#implementation(method);
      }
      this.#server.addService(definition, implementation);
    }
  }

  static async start(
    address = "127.0.0.1:0",
    credentials = ServerCredentials.createInsecure(),
  ): Promise<FakeServer> {
    const fake = new FakeServer();
    const port = await new Promise<number>((resolve, reject) => {
      fake.#server.bindAsync(address, credentials, (error, bound) => {
        if (error) {
          reject(error);
        } else {
          resolve(bound);
        }
      });
    });
    fake.target = address.startsWith("unix:") ? address : `127.0.0.1:${port}`;
    return fake;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  on(method: string, handler: Handler): void {
    this.#handlers.set(method, handler);
  }

  /** The requests of this RPC so far, in their order. */
  requests(method: string): (Message | undefined)[] {
    return this.received.filter((one) => one.method === method).map((one) => one.request);
  }

  #implementation(method: DescMethod): Implementation {
    if (method.methodKind === "unary") {
      return (call: ServerUnaryCall<Message, Message>, callback) => {
        Promise.resolve(this.#begin(method, call, call.request) as Message).then(
          (response) => callback(null, response),
          (error: unknown) => callback(asRefusal(error)),
        );
      };
    }
    return (
      call: ServerWritableStream<Message, Message> | ServerDuplexStream<Message, Message>,
    ) => {
      const request = "request" in call ? call.request : undefined;
      void (async () => {
        try {
          for await (const response of this.#begin(
            method,
            call,
            request,
          ) as AsyncIterable<Message>) {
            call.write(response);
          }
          call.end();
        } catch (error) {
          call.emit("error", asRefusal(error));
        }
      })();
    };
  }

  #begin(
    method: DescMethod,
    call: Pick<ServerUnaryCall<Message, Message>, "getDeadline" | "metadata"> & EventEmitter,
    request: Message | undefined,
  ): Answer {
    const deadline = call.getDeadline();
    const received: Received = {
      method: method.name,
      request,
      requests: whole(call as unknown as Readable),
      metadata: call.metadata,
      deadline: Number.isFinite(Number(deadline)) ? new Date(deadline) : undefined,
      cancelled: new Promise((resolve) => call.once("cancelled", resolve)),
    };
    this.received.push(received);
    const handler = this.#handlers.get(method.name);
    if (handler !== undefined) {
      return handler(received);
    }
    return method.methodKind === "unary" ? full(method.output) : nothing();
  }
}

/** A response in which every message field is there, though empty. */
function full(schema: DescMessage): Message {
  const init: Record<string, object> = {};
  for (const field of schema.fields) {
    if (field.fieldKind === "message" && field.oneof === undefined) {
      init[field.localName] = {};
    }
  }
  return create(schema, init as MessageInitShape<DescMessage>);
}

/** What a stream holds. Iterating over it otherwise would destroy its other direction, too. */
function whole(stream: Readable): AsyncIterable<Message> {
  return { [Symbol.asyncIterator]: () => stream.iterator({ destroyOnReturn: false }) };
}

async function* nothing(): AsyncGenerator<Message> {}

function asRefusal(error: unknown): Refusal {
  return error instanceof Refusal ? error : new Refusal(status.UNKNOWN, String(error));
}

function definitionOf(method: DescMethod): ServiceDefinition[string] {
  const serialize = (schema: DescMessage) => (message: Message) =>
    Buffer.from(toBinary(schema, message));
  const deserialize = (schema: DescMessage) => (bytes: Buffer) => fromBinary(schema, bytes);
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "bidi_streaming",
    responseStream: method.methodKind !== "unary",
    requestSerialize: serialize(method.input),
    requestDeserialize: deserialize(method.input),
    responseSerialize: serialize(method.output),
    responseDeserialize: deserialize(method.output),
  };
}
