import type { MessageShape } from "@bufbuild/protobuf";

import { idempotencyKeyOrNew, type CallOptions, type CreateOptions } from "../calls.js";
import { filled, jsonBytes } from "../convert.js";
import type { OctohooksError } from "../errors.js";
import { ApplicationSchema } from "../gen/octohooks/v1/application_pb.js";
import { MessageSchema, type Message } from "../gen/octohooks/v1/message_pb.js";
import {
  CreateMessageRequestSchema,
  ListMessagesRequestSchema,
  MessageService,
  PublishMessagesRequestSchema,
  type EndpointExplanation,
} from "../gen/octohooks/v1/message_service_pb.js";
import { messageOrError, type Acknowledgement, type Outgoing } from "../outbox.js";
import { publish } from "../publish.js";
import { present, Resource } from "../resource.js";
import { serialized } from "../transport.js";
import type {
  MessageFilters,
  MessageValues,
  NewMessage,
  PageOptions,
  PublishedMessage,
} from "../values.js";

const { method } = MessageService;

/** The webhooks to send. `application` and `message` are each an ID or a UID. */
export class MessageResource extends Resource {
  /**
   * Sends a message, and answers it without its payload once it is on disk: from then on it is
   * attempted until it succeeds or its schedule ends, whatever crashes. `NotFound` when there is no
   * such application, and none is made inline; `ResourceExhausted` when the payload is larger than
   * 350 KiB.
   */
  async create(
    application: string,
    values: MessageValues,
    options?: CreateOptions,
  ): Promise<Message> {
    const request = createRequest({ ...values, application });
    const response = await this.transport.create(method.createMessage, request, options);
    return present(response.message);
  }

  /**
   * Sends 1 to 100 messages and answers the result of each in the same order: the message as it was
   * stored, or the error for which it alone was refused.
   */
  async createBatch(
    messages: Iterable<NewMessage>,
    options?: CreateOptions,
  ): Promise<(Message | OctohooksError)[]> {
    const requests = Array.from(messages, createRequest);
    const response = await this.transport.create(method.batchCreateMessages, { requests }, options);
    return response.results.map(messageOrError);
  }

  /**
   * Sends messages as they come, over one stream, and acknowledges each in the same order once it is on
   * disk or refused. At most `window` messages are under way, 100 unless told, so that the iterable is
   * not read faster than the server stores. Nothing is sent until the iteration begins.
   *
   * Each message carries an idempotency key, its own or a new one. When the connection is cut, what is
   * not acknowledged is sent again with the same keys, so nothing is lost and nothing is made twice. An
   * error of the iterable comes out here, after the acknowledgements of what it gave.
   */
  publish(
    messages: Iterable<PublishedMessage> | AsyncIterable<PublishedMessage>,
    { window = 100 }: { window?: number | undefined } = {},
  ): AsyncGenerator<Acknowledgement, void, undefined> {
    if (!(window >= 1)) {
      throw new RangeError("the window must be at least 1");
    }
    return publish(this.transport, messages, outgoing, window);
  }

  /** Answers one message with its payload, unless that has been deleted. */
  async get(application: string, message: string, options?: CallOptions): Promise<Message> {
    const response = await this.transport.call(
      method.getMessage,
      { application, message },
      options,
    );
    return present(response.message);
  }

  /** The messages of an application, newest first, without payloads. */
  list(
    application: string,
    filters: MessageFilters = {},
    options?: CallOptions,
  ): AsyncGenerator<Message, void, undefined> {
    return this.transport.list(
      method.listMessages,
      filled(ListMessagesRequestSchema, { pageSize: 50, ...filters, application }),
      (response) => response.messages,
      options,
    );
  }

  /**
   * Deletes a message's payload and the response bodies of its attempts ahead of time; what is pending
   * of it is cancelled. Doing it twice is not an error.
   */
  async deletePayload(
    application: string,
    message: string,
    options?: CallOptions,
  ): Promise<Message> {
    const response = await this.transport.call(
      method.deleteMessagePayload,
      { application, message },
      options,
    );
    return present(response.message);
  }

  /**
   * Tells for each endpoint of the application, oldest first, whether it got the message and which rule
   * decided.
   */
  explain(
    application: string,
    message: string,
    { pageSize = 50 }: PageOptions = {},
    options?: CallOptions,
  ): AsyncGenerator<EndpointExplanation, void, undefined> {
    return this.transport.list(
      method.explainMessage,
      { application, message, pageSize },
      (response) => response.explanations,
      options,
    );
  }
}

function createRequest(message: NewMessage): MessageShape<typeof CreateMessageRequestSchema> {
  const { application, payload, inlineApplication, ...values } = message;
  return filled(CreateMessageRequestSchema, {
    application,
    message: filled(MessageSchema, { ...values, payload: jsonBytes(payload) }),
    inlineApplication:
      inlineApplication && filled(ApplicationSchema, { uid: application, ...inlineApplication }),
  });
}

function outgoing({ idempotencyKey, ...message }: PublishedMessage): Outgoing {
  const key = idempotencyKeyOrNew(idempotencyKey);
  const request = { message: createRequest(message), idempotencyKey: key };
  return { bytes: serialized(PublishMessagesRequestSchema, request), idempotencyKey: key };
}
