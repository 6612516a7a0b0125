export { Backoff, type BackoffOptions } from "./backoff.js";
export type { CallOptions, CreateOptions, UpdateOptions } from "./calls.js";
export { Octohooks, type OctohooksOptions } from "./client.js";
export type { ConnectionOptions, TlsOptions } from "./connection.js";
export {
  AlreadyExists,
  Cancelled,
  DeadlineExceeded,
  FailedPrecondition,
  Internal,
  InvalidArgument,
  NotFound,
  OctohooksError,
  OutOfRange,
  PermissionDenied,
  RateLimited,
  ResourceExhausted,
  Unauthenticated,
  Unavailable,
  Unimplemented,
  type Violation,
} from "./errors.js";
export type { Acknowledgement } from "./outbox.js";
export type * from "./values.js";
export { version } from "./version.js";
export { Watch } from "./watch.js";
export {
  Webhook,
  WebhookVerificationError,
  type WebhookHeaders,
  type WebhookOptions,
} from "./webhook.js";
export { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
