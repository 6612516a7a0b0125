import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { status, type ServiceError } from "@grpc/grpc-js";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  type ResourceInfo,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import type { Failure } from "./gen/octohooks/v1/error_pb.js";

/** One field that is wrong, and what is wrong with it. */
export interface Violation {
  field: string;
  description: string;
}

export interface OctohooksErrorOptions {
  code?: number | undefined;
  /** The details of the `google.rpc.Status`. */
  details?: readonly Any[] | undefined;
  requestId?: string | undefined;
  cause?: unknown;
}

/** A call, or one message of a batch or stream, was refused or did not get through. */
export class OctohooksError extends Error {
  /** The gRPC status, as a number. */
  readonly code: number;
  /** The gRPC status by its name, such as `NOT_FOUND`. */
  readonly status: string;
  /** The sentence of the server alone; `message` names the wrong fields, too. */
  readonly details: string;
  /**
   * The stable name of the cause, such as `UID_TAKEN`: an `octohooks.v1.ErrorReason` without its
   * prefix. Undefined when the server did not say, for example since it could not be reached.
   */
  readonly reason: string | undefined;
  /** More about the reason, by keys that `octohooks.v1.ErrorReason` documents. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields of the request that are wrong. */
  readonly violations: readonly Violation[];
  /** What was not found, or exists already. */
  readonly resource: ResourceInfo | undefined;
  /** How many seconds to wait before another try, where the server says that waiting helps. */
  readonly retryAfterSeconds: number | undefined;
  /**
   * What finds the call in the server's log and in its audit log; the server tells it with every
   * answer. Undefined when the call did not get there, and for one item of a batch or stream.
   */
  readonly requestId: string | undefined;

  constructor(message: string, options: OctohooksErrorOptions = {}) {
    const { code = status.UNKNOWN, details = [], requestId, cause } = options;
    const violations = (find(details, BadRequestSchema)?.fieldViolations ?? []).map(
      ({ field, description }) => ({ field, description }),
    );
    super(sentence(message || nameOf(code), violations), cause === undefined ? {} : { cause });
    this.name = new.target.name;
    this.code = code;
    this.status = nameOf(code);
    this.details = message;
    const info = find(details, ErrorInfoSchema);
    this.reason = info?.reason;
    this.metadata = info?.metadata ?? {};
    this.violations = violations;
    this.resource = find(details, ResourceInfoSchema);
    this.retryAfterSeconds = retryAfter(details);
    this.requestId =
      find(details, RequestInfoSchema)?.requestId || this.metadata["correlation_id"] || requestId;
  }
}

/** The call was cancelled: by its signal, or since the client was closed. */
export class Cancelled extends OctohooksError {}

/** Something in the request is wrong; `violations` names the fields. */
export class InvalidArgument extends OctohooksError {}

/** No answer came in time. What was asked may have been done nevertheless. */
export class DeadlineExceeded extends OctohooksError {}

/** There is no such entity, or it was deleted, or it belongs to another environment. */
export class NotFound extends OctohooksError {}

/** Another entity has this UID or name. */
export class AlreadyExists extends OctohooksError {}

/** The API key is good, but not for this method. */
export class PermissionDenied extends OctohooksError {}

/** A limit was reached, such as the size of a payload; `reason` tells which. */
export class ResourceExhausted extends OctohooksError {}

/** A limit was reached that waiting helps against: `retryAfterSeconds` tells how long. */
export class RateLimited extends ResourceExhausted {}

/** Things are not in the state that the call needs; `reason` tells what is in the way. */
export class FailedPrecondition extends OctohooksError {}

/** The watch would begin before what the server keeps. */
export class OutOfRange extends OctohooksError {}

/** The server does not serve this method. */
export class Unimplemented extends OctohooksError {}

/** A defect of the server; `requestId` finds it in the server's log. */
export class Internal extends OctohooksError {}

/** The server cannot be reached, or cannot answer at the moment. */
export class Unavailable extends OctohooksError {}

/** The API key is missing, unknown, revoked or expired. */
export class Unauthenticated extends OctohooksError {}

const CLASSES: Readonly<Record<number, typeof OctohooksError>> = {
  [status.CANCELLED]: Cancelled,
  [status.INVALID_ARGUMENT]: InvalidArgument,
  [status.DEADLINE_EXCEEDED]: DeadlineExceeded,
  [status.NOT_FOUND]: NotFound,
  [status.ALREADY_EXISTS]: AlreadyExists,
  [status.PERMISSION_DENIED]: PermissionDenied,
  [status.RESOURCE_EXHAUSTED]: ResourceExhausted,
  [status.FAILED_PRECONDITION]: FailedPrecondition,
  [status.OUT_OF_RANGE]: OutOfRange,
  [status.UNIMPLEMENTED]: Unimplemented,
  [status.INTERNAL]: Internal,
  [status.UNAVAILABLE]: Unavailable,
  [status.UNAUTHENTICATED]: Unauthenticated,
};

/** The error for a failed call, with what its trailing metadata tells; anything else as it is. */
export function errorFromCall(error: unknown): unknown {
  if (!isServiceError(error)) {
    return error;
  }
  const serialized = error.metadata?.get("grpc-status-details-bin")[0];
  const [requestId] = [
    ...(error.metadata?.get("request-id") ?? []),
    ...(error.metadata?.get("x-request-id") ?? []),
  ];
  return errorOf(error.code, error.details, statusDetails(serialized), requestId?.toString());
}

/** The error for one refused item of a batch or stream. */
export function errorFromFailure(failure: Failure): OctohooksError {
  return errorOf(failure.code, failure.message, failure.details);
}

export function cancelled(message: string, cause?: unknown): OctohooksError {
  return new Cancelled(message, { code: status.CANCELLED, cause });
}

export function unavailable(message: string): OctohooksError {
  return new Unavailable(message, { code: status.UNAVAILABLE });
}

/**
 * Whether a stream ended for no reason of the server's own, or since the server is stopping, so that
 * it can go on over another connection.
 */
export function isCut(error: OctohooksError): boolean {
  switch (error.code) {
    case status.UNAVAILABLE:
      return true;
    case status.CANCELLED:
      // The first is a stream that waited at a server when it began to stop (grpc/grpc#41785), the
      // second one that was reset. What this side cancels reads differently.
      return error.details === "CANCELLED" || error.details === "Call cancelled";
    case status.INTERNAL:
      // What gRPC makes of a reset; an error of the server's own has a reason.
      return error.reason === undefined && error.details.includes("RST_STREAM");
    default:
      return false;
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "number" &&
    "details" in error
  );
}

function errorOf(
  code: number,
  message: string,
  details: readonly Any[],
  requestId?: string,
): OctohooksError {
  const waitingHelps = code === status.RESOURCE_EXHAUSTED && retryAfter(details) !== undefined;
  const errorClass = waitingHelps ? RateLimited : (CLASSES[code] ?? OctohooksError);
  return new errorClass(message, { code, details, requestId });
}

function statusDetails(serialized: Buffer | string | undefined): readonly Any[] {
  if (typeof serialized !== "object") {
    return [];
  }
  try {
    return fromBinary(StatusSchema, serialized).details;
  } catch {
    // Whatever stands between may send what it likes; the code and the message still count.
    return [];
  }
}

function find<D extends DescMessage>(
  details: readonly Any[],
  schema: D,
): MessageShape<D> | undefined {
  for (const detail of details) {
    try {
      const found = anyUnpack(detail, schema);
      if (found !== undefined) {
        return found;
      }
    } catch {
      continue;
    }
  }
  return undefined;
}

function retryAfter(details: readonly Any[]): number | undefined {
  const delay = find(details, RetryInfoSchema)?.retryDelay;
  return delay && Number(delay.seconds) + delay.nanos / 1e9;
}

function nameOf(code: number): string {
  return status[code] ?? "UNKNOWN";
}

function sentence(message: string, violations: readonly Violation[]): string {
  const fields = violations.map(({ field, description }) => `${field}: ${description}`);
  // The sentence often is that of the first field already.
  return [message, ...fields.filter((field) => !message.includes(field))].join("; ");
}
