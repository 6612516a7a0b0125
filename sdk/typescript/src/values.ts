/**
 * The plain values that the client's methods take. They are named like the protobuf fields that they
 * fill, in camel case, and the protos say what each means and which limits it has. `undefined` is as
 * good as not given; `null` leaves a field unset, and in an update it clears it.
 */

import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

import type { ApiKeyRole } from "./gen/octohooks/v1/api_key_pb.js";
import type { AttemptEventKind } from "./gen/octohooks/v1/attempt_service_pb.js";
import type { AttemptOutcome } from "./gen/octohooks/v1/attempt_pb.js";
import type { DeliveryStatus } from "./gen/octohooks/v1/delivery_pb.js";
import type { SignatureType } from "./gen/octohooks/v1/endpoint_pb.js";
import type { RetrySchedule } from "./gen/octohooks/v1/retry_schedule_pb.js";

type Optional<T> = { [K in keyof T]?: T[K] | null | undefined };

/** A point in time. */
export type TimeValue = Date | Timestamp;

/** A length of time; a number means seconds. */
export type DurationValue = number | Duration;

/** The wait before each attempt; numbers mean seconds. */
export type RetryScheduleValue = readonly DurationValue[] | RetrySchedule;

/**
 * A JSON document: an object or an array is written as compact JSON; a string and bytes are JSON text
 * already and go as they are.
 */
export type JsonDocument = object | string | Uint8Array;

/** Values by names, all of them text. */
export type Texts = Readonly<Record<string, string>>;

export type ApiKeyRoleValue = "full" | "send" | "read" | "application" | ApiKeyRole;
export type SignatureTypeValue = "hmac_sha256" | "ed25519" | SignatureType;
export type DeliveryStatusValue = "pending" | "succeeded" | "failed" | "cancelled" | DeliveryStatus;
export type AttemptOutcomeValue = "succeeded" | "failed" | AttemptOutcome;
export type AttemptEventKindValue = "succeeded" | "failed" | "cancelled" | AttemptEventKind;

/** The settings of an environment, as in `octohooks.v1.Environment`. */
export type EnvironmentValues = Optional<{
  name: string;
  retrySchedule: RetryScheduleValue;
  payloadRetention: DurationValue;
  defaultSignatureType: SignatureTypeValue;
  enforceSchemas: boolean;
}>;

/** The fields of an API key, as in `octohooks.v1.ApiKey`. */
export type ApiKeyValues = Optional<{
  name: string;
  expireTime: TimeValue;
  role: ApiKeyRoleValue;
  /** The ID or UID of the application that a key of the role `application` is confined to. */
  application: string;
  maxRequestsPerSecond: number;
  maxWatches: number;
}>;

/** The fields of an application, as in `octohooks.v1.Application`. */
export type ApplicationValues = Optional<{
  uid: string;
  name: string;
  rateLimit: number;
  metadata: Texts;
}>;

/** The fields of an event type, as in `octohooks.v1.EventType`. */
export type EventTypeValues = Optional<{
  description: string;
  schema: JsonDocument;
  examples: readonly JsonDocument[];
  archived: boolean;
  metadata: Texts;
}>;

/** The fields of an endpoint, as in `octohooks.v1.Endpoint`. */
export type EndpointValues = Optional<{
  uid: string;
  url: string;
  description: string;
  eventTypes: readonly string[];
  channels: readonly string[];
  headers: Texts;
  rateLimit: number;
  retrySchedule: RetryScheduleValue;
  signatureType: SignatureTypeValue;
  disabled: boolean;
  metadata: Texts;
}>;

/** An endpoint to make. */
export type NewEndpoint = EndpointValues & {
  url: string;
  /** Unless given, one is generated. */
  secret?: string | null | undefined;
};

/** The fields of an operational webhook, as in `octohooks.v1.OperationalWebhook`. */
export type OperationalWebhookValues = Optional<{
  uid: string;
  url: string;
  description: string;
  eventTypes: readonly string[];
  headers: Texts;
  signatureType: SignatureTypeValue;
  disabled: boolean;
}>;

/** An operational webhook to make. */
export type NewOperationalWebhook = OperationalWebhookValues & {
  url: string;
  /** Unless given, one is generated. */
  secret?: string | null | undefined;
};

/** A message to send, as in `octohooks.v1.Message`. */
export type MessageValues = {
  eventType: string;
  payload: JsonDocument;
  /** Makes the application when there is none with this UID; one that exists stays as it is. */
  inlineApplication?: ApplicationValues | null | undefined;
} & Optional<{
  uid: string;
  channels: readonly string[];
  tags: Texts;
  payloadRetention: DurationValue;
}>;

/** One message of `message.createBatch`. */
export type NewMessage = MessageValues & { application: string };

/** One message of `message.publish`. */
export type PublishedMessage = NewMessage & {
  /** Unless given, a new one. */
  idempotencyKey?: string | undefined;
};

/** How a list is asked for. */
export interface PageOptions {
  /** How many to ask for at a time: 50 unless given, at most 250. */
  pageSize?: number | undefined;
}

/** Which messages a list holds; filters that are not given let everything through. */
export type MessageFilters = PageOptions &
  Optional<{
    eventTypes: readonly string[];
    channels: readonly string[];
    tags: Texts;
    after: TimeValue;
    before: TimeValue;
  }>;

/**
 * What a list or a watch is about, each an ID or a UID. The application is needed where one of the
 * others is a UID.
 */
export type About = Optional<{
  application: string;
  message: string;
  endpoint: string;
}>;

export type DeliveryFilters = MessageFilters &
  About &
  Optional<{ statuses: readonly DeliveryStatusValue[] }>;

export type AttemptFilters = MessageFilters &
  About &
  Optional<{ outcomes: readonly AttemptOutcomeValue[] }>;

/** What of the audit log is shown; unless told, all of it. */
export type AuditFilters = PageOptions &
  Optional<{
    /** The ID of an environment; another than the key's own is not found. */
    environment: string;
    /** The ID of the key that it was done with, or `operator`. */
    actor: string;
    /** Names of RPCs, such as `UpdateEndpoint`. */
    methods: readonly string[];
    /** The ID of what it was about, or of the application that this belongs to. */
    resource: string;
    after: TimeValue;
    before: TimeValue;
  }>;

/**
 * A delivery: a message and an endpoint, each an ID or a UID. The application is needed where one of
 * them is a UID.
 */
export interface DeliveryReference {
  application?: string | undefined;
  message: string;
  endpoint: string;
}

/** What a watch shows and where it begins; unless told, everything from now on. */
export type WatchFilters = About &
  Optional<{
    eventTypes: readonly string[];
    kinds: readonly AttemptEventKindValue[];
    /** Begins with the first event recorded at this time or later. Excludes `resumeToken`. */
    since: TimeValue;
    /** Goes on after what the token stands for. An empty one counts as none. */
    resumeToken: string;
  }>;

/** From when on, and until when; `until` is now unless given. */
export interface Span {
  since: TimeValue;
  until?: TimeValue | null | undefined;
}
