import type { CallOptions, CreateOptions, UpdateOptions } from "../calls.js";
import { filled, jsonText, maskOf } from "../convert.js";
import { EventTypeSchema, type EventType } from "../gen/octohooks/v1/event_type_pb.js";
import {
  EventTypeService,
  type ImportOpenApiResponse,
} from "../gen/octohooks/v1/event_type_service_pb.js";
import { present, Resource } from "../resource.js";
import type { EventTypeValues, JsonDocument, PageOptions } from "../values.js";

const { method } = EventTypeService;

/** What messages describe, and which schema their payloads have. `eventType` is a name. */
export class EventTypeResource extends Resource {
  /** Describes an event type; `AlreadyExists` when one of this name is described already. */
  async create(
    values: EventTypeValues & { name: string },
    options?: CreateOptions,
  ): Promise<EventType> {
    const eventType = filled(EventTypeSchema, asText(values));
    const response = await this.transport.create(method.createEventType, { eventType }, options);
    return present(response.eventType);
  }

  /** Answers one event type; `NotFound` when none of this name is described. */
  async get(eventType: string, options?: CallOptions): Promise<EventType> {
    const response = await this.transport.call(method.getEventType, { eventType }, options);
    return present(response.eventType);
  }

  /** The event types by name. */
  list(
    {
      includeArchived = false,
      pageSize = 50,
    }: { includeArchived?: boolean | undefined } & PageOptions = {},
    options?: CallOptions,
  ): AsyncGenerator<EventType, void, undefined> {
    return this.transport.list(
      method.listEventTypes,
      { includeArchived, pageSize },
      (response) => response.eventTypes,
      options,
    );
  }

  /**
   * Changes the fields that are given, and no others; `""` and `null` clear one. With `allowMissing`,
   * makes the event type when none of this name is described.
   */
  async update(
    eventType: string,
    changes: EventTypeValues,
    { allowMissing = false, ...options }: UpdateOptions = {},
  ): Promise<EventType> {
    const response = await this.transport.call(
      method.updateEventType,
      {
        eventType,
        values: filled(EventTypeSchema, asText(changes)),
        updateMask: maskOf(EventTypeSchema, changes),
        allowMissing,
      },
      options,
    );
    return present(response.eventType);
  }

  /** Archives an event type: new messages may not name it. Doing it twice is not an error. */
  async archive(eventType: string, options?: CallOptions): Promise<EventType> {
    const response = await this.transport.call(method.archiveEventType, { eventType }, options);
    return present(response.eventType);
  }

  /** Removes the description of an event type; its messages and filters stay as they are. */
  async delete(eventType: string, options?: CallOptions): Promise<void> {
    await this.transport.call(method.deleteEventType, { eventType }, options);
  }

  /**
   * Describes every webhook of an OpenAPI 3.1 document, which is JSON or YAML text, or the document as
   * an object. With `dryRun`, only answers what would be done.
   */
  async importOpenApi(
    document: JsonDocument,
    { dryRun = false, ...options }: { dryRun?: boolean | undefined } & CallOptions = {},
  ): Promise<ImportOpenApiResponse> {
    return this.transport.call(
      method.importOpenApi,
      { document: jsonText(document), dryRun },
      options,
    );
  }
}

/** The values, with JSON documents as text. */
function asText(values: EventTypeValues): object {
  const { schema, examples } = values;
  return {
    ...values,
    ...(schema ? { schema: jsonText(schema) } : {}),
    ...(Array.isArray(examples) ? { examples: examples.map(jsonText) } : {}),
  };
}
