import type { CallOptions, CreateOptions, UpdateOptions } from "../calls.js";
import { filled, maskOf } from "../convert.js";
import {
  EndpointSchema,
  type Endpoint,
  type EndpointSecret,
} from "../gen/octohooks/v1/endpoint_pb.js";
import {
  EndpointService,
  GetEndpointStatsRequestSchema,
  RecoverEndpointRequestSchema,
  ReplayEndpointRequestSchema,
  RotateEndpointSecretRequestSchema,
  type GetEndpointStatsResponse,
} from "../gen/octohooks/v1/endpoint_service_pb.js";
import type { Job } from "../gen/octohooks/v1/job_pb.js";
import type { Message } from "../gen/octohooks/v1/message_pb.js";
import { present, Resource } from "../resource.js";
import type {
  DurationValue,
  EndpointValues,
  NewEndpoint,
  PageOptions,
  Span,
  TimeValue,
} from "../values.js";

const { method } = EndpointService;

/** The URLs that an application's messages go to. `application` and `endpoint` are each an ID or a UID. */
export class EndpointResource extends Resource {
  /**
   * Makes an endpoint. Without a `secret`, one is generated, which `secret` answers. `AlreadyExists`
   * when another one of the application has this UID.
   */
  async create(
    application: string,
    { secret, ...values }: NewEndpoint,
    options?: CreateOptions,
  ): Promise<Endpoint> {
    const request = { application, endpoint: filled(EndpointSchema, values), secret: secret ?? "" };
    const response = await this.transport.create(method.createEndpoint, request, options);
    return present(response.endpoint);
  }

  /** Answers one endpoint; `NotFound` when the application has none with this ID or UID. */
  async get(application: string, endpoint: string, options?: CallOptions): Promise<Endpoint> {
    const response = await this.transport.call(
      method.getEndpoint,
      { application, endpoint },
      options,
    );
    return present(response.endpoint);
  }

  /** The endpoints of an application, oldest first. */
  list(
    application: string,
    { pageSize = 50 }: PageOptions = {},
    options?: CallOptions,
  ): AsyncGenerator<Endpoint, void, undefined> {
    return this.transport.list(
      method.listEndpoints,
      { application, pageSize },
      (response) => response.endpoints,
      options,
    );
  }

  /**
   * Changes the fields that are given, and no others; `""`, `[]` and `null` clear one. With
   * `allowMissing` and a `url`, makes the endpoint when there is none with this UID.
   */
  async update(
    application: string,
    endpoint: string,
    changes: EndpointValues,
    { allowMissing = false, ...options }: UpdateOptions = {},
  ): Promise<Endpoint> {
    const response = await this.transport.call(
      method.updateEndpoint,
      {
        application,
        endpoint,
        values: filled(EndpointSchema, changes),
        updateMask: maskOf(EndpointSchema, changes),
        allowMissing,
      },
      options,
    );
    return present(response.endpoint);
  }

  /** Deletes an endpoint; what is pending for it is cancelled. */
  async delete(application: string, endpoint: string, options?: CallOptions): Promise<void> {
    await this.transport.call(method.deleteEndpoint, { application, endpoint }, options);
  }

  /** Answers the secrets that sign at this moment, newest first. */
  async secret(
    application: string,
    endpoint: string,
    options?: CallOptions,
  ): Promise<EndpointSecret[]> {
    const response = await this.transport.call(
      method.getEndpointSecret,
      { application, endpoint },
      options,
    );
    return response.secrets;
  }

  /**
   * Replaces the secret by this one, or by a generated one, and answers the secrets that sign now,
   * newest first. The old one goes on signing for the `overlap`: 24 hours unless told, at most 7 days.
   */
  async rotateSecret(
    application: string,
    endpoint: string,
    values: { secret?: string | null | undefined; overlap?: DurationValue | null | undefined } = {},
    options?: CreateOptions,
  ): Promise<EndpointSecret[]> {
    const request = filled(RotateEndpointSecretRequestSchema, { ...values, application, endpoint });
    const response = await this.transport.create(method.rotateEndpointSecret, request, options);
    return response.secrets;
  }

  /**
   * Counts what happened at an endpoint, from `after` (24 hours ago unless told) up to `before` (now
   * unless told).
   */
  async stats(
    application: string,
    endpoint: string,
    values: { after?: TimeValue | null | undefined; before?: TimeValue | null | undefined } = {},
    options?: CallOptions,
  ): Promise<GetEndpointStatsResponse> {
    const request = filled(GetEndpointStatsRequestSchema, { ...values, application, endpoint });
    return this.transport.call(method.getEndpointStats, request, options);
  }

  /**
   * Sends the failed deliveries of an endpoint again, of messages accepted from `since` up to `until`.
   * The job goes on in the background; `job.get` tells how far it is. `FailedPrecondition` when the
   * endpoint is disabled.
   */
  async recover(
    application: string,
    endpoint: string,
    span: Span,
    options?: CreateOptions,
  ): Promise<Job> {
    const request = filled(RecoverEndpointRequestSchema, { ...span, application, endpoint });
    const response = await this.transport.create(method.recoverEndpoint, request, options);
    return present(response.job);
  }

  /**
   * Sends the messages that an endpoint never got, for example since it is new, of those accepted from
   * `since` up to `until`. The job goes on in the background; `job.get` tells how far it is.
   * `FailedPrecondition` when the endpoint is disabled.
   */
  async replay(
    application: string,
    endpoint: string,
    span: Span,
    options?: CreateOptions,
  ): Promise<Job> {
    const request = filled(ReplayEndpointRequestSchema, { ...span, application, endpoint });
    const response = await this.transport.create(method.replayEndpoint, request, options);
    return present(response.job);
  }

  /**
   * Sends the first example of an event type to this endpoint alone, whatever its filters.
   * `FailedPrecondition` when the event type has no example, or the endpoint is disabled.
   */
  async sendExample(
    application: string,
    endpoint: string,
    { eventType }: { eventType: string },
    options?: CreateOptions,
  ): Promise<Message> {
    const request = { application, endpoint, eventType };
    const response = await this.transport.create(method.sendExample, request, options);
    return present(response.message);
  }
}
