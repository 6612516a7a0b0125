import type { CallOptions } from "../calls.js";
import { filled } from "../convert.js";
import type { AuditEvent } from "../gen/octohooks/v1/audit_pb.js";
import {
  AuditService,
  ListAuditEventsRequestSchema,
} from "../gen/octohooks/v1/audit_service_pb.js";
import { Resource } from "../resource.js";
import type { AuditFilters } from "../values.js";

const { method } = AuditService;

/**
 * Who changed what, with the operator's key in all environments, or with a key of role `full` in its
 * own.
 */
export class AuditResource extends Resource {
  /** What happened, newest first. */
  list(
    filters: AuditFilters = {},
    options?: CallOptions,
  ): AsyncGenerator<AuditEvent, void, undefined> {
    return this.transport.list(
      method.listAuditEvents,
      filled(ListAuditEventsRequestSchema, { pageSize: 50, ...filters }),
      (response) => response.auditEvents,
      options,
    );
  }
}
