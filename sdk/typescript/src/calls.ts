import { randomUUID } from "node:crypto";

export interface CallOptions {
  /** How long the call may take, its retries included, in seconds; `Infinity` for no limit. */
  timeoutSeconds?: number | undefined;
  /** Ends the call, which then fails with `Cancelled`. */
  signal?: AbortSignal | undefined;
}

export interface CreateOptions extends CallOptions {
  /**
   * Makes it safe to ask again: within 12 hours the same key with the same request gets the same
   * answer. Unless given, each call has a new one. 1 to 256 visible ASCII characters.
   */
  idempotencyKey?: string | undefined;
}

export interface UpdateOptions extends CallOptions {
  /** Whether to make the entity when there is none with this UID. */
  allowMissing?: boolean | undefined;
}

// What gRPC lets through as the value of a metadata entry, and the API's limit on its length.
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,256}$/;

/**
 * The key that the caller chose, or a new random one.
 *
 * @throws TypeError it is none.
 */
export function idempotencyKeyOrNew(key: string | undefined): string {
  if (key === undefined) {
    return randomUUID();
  }
  if (!IDEMPOTENCY_KEY.test(key)) {
    throw new TypeError("an idempotency key is 1 to 256 visible ASCII characters");
  }
  return key;
}
