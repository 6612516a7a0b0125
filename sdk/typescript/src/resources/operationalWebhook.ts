import type { CallOptions, CreateOptions } from "../calls.js";
import { filled, maskOf } from "../convert.js";
import type { EndpointSecret } from "../gen/octohooks/v1/endpoint_pb.js";
import {
  OperationalWebhookSchema,
  type OperationalWebhook,
} from "../gen/octohooks/v1/operational_webhook_pb.js";
import { OperationalWebhookService } from "../gen/octohooks/v1/operational_webhook_service_pb.js";
import { present, Resource } from "../resource.js";
import type { NewOperationalWebhook, OperationalWebhookValues, PageOptions } from "../values.js";

const { method } = OperationalWebhookService;

/**
 * The environment's own endpoints, which are told what happens to those of its customers.
 * `operationalWebhook` is an ID or a UID.
 */
export class OperationalWebhookResource extends Resource {
  /**
   * Makes an operational webhook. Without a `secret` one is generated, which `secret` answers.
   * `AlreadyExists` when another one has this UID.
   */
  async create(
    { secret, ...values }: NewOperationalWebhook,
    options?: CreateOptions,
  ): Promise<OperationalWebhook> {
    const request = {
      operationalWebhook: filled(OperationalWebhookSchema, values),
      secret: secret ?? "",
    };
    const response = await this.transport.create(method.createOperationalWebhook, request, options);
    return present(response.operationalWebhook);
  }

  /** Answers one operational webhook; `NotFound` when there is none with this ID or UID. */
  async get(operationalWebhook: string, options?: CallOptions): Promise<OperationalWebhook> {
    const response = await this.transport.call(
      method.getOperationalWebhook,
      { operationalWebhook },
      options,
    );
    return present(response.operationalWebhook);
  }

  /** The operational webhooks, oldest first. */
  list(
    { pageSize = 50 }: PageOptions = {},
    options?: CallOptions,
  ): AsyncGenerator<OperationalWebhook, void, undefined> {
    return this.transport.list(
      method.listOperationalWebhooks,
      { pageSize },
      (response) => response.operationalWebhooks,
      options,
    );
  }

  /** Changes the fields that are given, and no others; `""`, `[]` and `null` clear one. */
  async update(
    operationalWebhook: string,
    changes: OperationalWebhookValues,
    options?: CallOptions,
  ): Promise<OperationalWebhook> {
    const response = await this.transport.call(
      method.updateOperationalWebhook,
      {
        operationalWebhook,
        values: filled(OperationalWebhookSchema, changes),
        updateMask: maskOf(OperationalWebhookSchema, changes),
      },
      options,
    );
    return present(response.operationalWebhook);
  }

  /** Deletes an operational webhook; what is pending for it is cancelled. */
  async delete(operationalWebhook: string, options?: CallOptions): Promise<void> {
    await this.transport.call(method.deleteOperationalWebhook, { operationalWebhook }, options);
  }

  /** Answers the secrets that sign at this moment, newest first. */
  async secret(operationalWebhook: string, options?: CallOptions): Promise<EndpointSecret[]> {
    const response = await this.transport.call(
      method.getOperationalWebhookSecret,
      { operationalWebhook },
      options,
    );
    return response.secrets;
  }
}
