import type { CallOptions, CreateOptions } from "../calls.js";
import { filled } from "../convert.js";
import {
  AttemptService,
  ListDeliveriesRequestSchema,
} from "../gen/octohooks/v1/attempt_service_pb.js";
import type { Delivery } from "../gen/octohooks/v1/delivery_pb.js";
import { present, Resource } from "../resource.js";
import type { DeliveryFilters, DeliveryReference } from "../values.js";

const { method } = AttemptService;

/** Messages on their way to endpoints, each identified by the two together. */
export class DeliveryResource extends Resource {
  /** Deliveries, newest message first. */
  list(
    filters: DeliveryFilters = {},
    options?: CallOptions,
  ): AsyncGenerator<Delivery, void, undefined> {
    return this.transport.list(
      method.listDeliveries,
      filled(ListDeliveriesRequestSchema, { pageSize: 50, ...filters }),
      (response) => response.deliveries,
      options,
    );
  }

  /** Answers one delivery; `NotFound` when the message was not sent to this endpoint. */
  async get(reference: DeliveryReference, options?: CallOptions): Promise<Delivery> {
    const response = await this.transport.call(method.getDelivery, requestOf(reference), options);
    return present(response.delivery);
  }

  /**
   * Makes one attempt at once, whatever the delivery's schedule says. `FailedPrecondition` when the
   * endpoint is disabled, or the payload is deleted.
   */
  async resend(reference: DeliveryReference, options?: CreateOptions): Promise<Delivery> {
    const response = await this.transport.create(
      method.resendDelivery,
      requestOf(reference),
      options,
    );
    return present(response.delivery);
  }
}

function requestOf({ application = "", message, endpoint }: DeliveryReference): {
  application: string;
  message: string;
  endpoint: string;
} {
  return { application, message, endpoint };
}
