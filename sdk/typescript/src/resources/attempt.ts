import type { CallOptions } from "../calls.js";
import { filled } from "../convert.js";
import type { Attempt } from "../gen/octohooks/v1/attempt_pb.js";
import {
  AttemptService,
  ListAttemptsRequestSchema,
  WatchAttemptsRequestSchema,
} from "../gen/octohooks/v1/attempt_service_pb.js";
import { present, Resource } from "../resource.js";
import type { AttemptFilters, WatchFilters } from "../values.js";
import { Watch } from "../watch.js";

const { method } = AttemptService;

/** The HTTP requests that were made for deliveries, and what came of them. */
export class AttemptResource extends Resource {
  /** Attempts, newest first, without response headers and bodies. */
  list(
    filters: AttemptFilters = {},
    options?: CallOptions,
  ): AsyncGenerator<Attempt, void, undefined> {
    return this.transport.list(
      method.listAttempts,
      filled(ListAttemptsRequestSchema, { pageSize: 50, ...filters }),
      (response) => response.attempts,
      options,
    );
  }

  /** Answers one attempt with its response headers and body; `NotFound` when there is none. */
  async get(attempt: string, options?: CallOptions): Promise<Attempt> {
    const response = await this.transport.call(method.getAttempt, { attempt }, options);
    return present(response.attempt);
  }

  /**
   * Shows every attempt as it is recorded, and every delivery that is cancelled, from now on unless
   * `since` or a `resumeToken` says otherwise. The iteration never ends by itself. It fails with
   * `OutOfRange` when its beginning is older than what the server keeps.
   */
  watch({ resumeToken, ...filters }: WatchFilters = {}): Watch {
    if (resumeToken && filters.since) {
      throw new TypeError("since and resumeToken exclude each other");
    }
    const start = resumeToken ? { resumeToken } : {};
    return new Watch(this.transport, filled(WatchAttemptsRequestSchema, { ...filters, ...start }));
  }
}
