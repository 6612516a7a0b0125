import {
  create,
  isMessage,
  type DescEnum,
  type DescField,
  type DescMessage,
  type MessageShape,
} from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import {
  DurationSchema,
  FieldMaskSchema,
  timestampFromDate,
  TimestampSchema,
  type Duration,
  type FieldMask,
  type Timestamp,
} from "@bufbuild/protobuf/wkt";

import { RetryScheduleSchema } from "./gen/octohooks/v1/retry_schedule_pb.js";
import type { DurationValue, JsonDocument, RetryScheduleValue, TimeValue } from "./values.js";

/**
 * A message whose fields take these plain values; `null` and `undefined` leave a field unset.
 *
 * @throws TypeError there is no such field, or it takes another kind of value.
 */
export function filled<D extends DescMessage>(schema: D, values: object): MessageShape<D> {
  const message = create(schema);
  const target = reflect(schema, message);
  for (const [name, value] of given(values)) {
    const field = fieldOf(schema, name);
    if (value === null) {
      continue;
    }
    try {
      set(target, field, value);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new TypeError(`${name}: ${reason}`, { cause: error });
    }
  }
  return message;
}

/** The mask of an update: every field that is given, those that are to be cleared included. */
export function maskOf(schema: DescMessage, values: object): FieldMask {
  return create(FieldMaskSchema, {
    paths: given(values).map(([name]) => fieldOf(schema, name).name),
  });
}

/**
 * The document as JSON text in UTF-8: a string and bytes are taken as JSON text already and stay as
 * they are; anything else is written compactly.
 *
 * @throws TypeError JSON has no form for it.
 */
export function jsonBytes(value: JsonDocument): Uint8Array {
  return value instanceof Uint8Array ? value : new TextEncoder().encode(jsonText(value));
}

/** The same as text. */
export function jsonText(value: JsonDocument): string {
  if (typeof value === "string") {
    return value;
  }
  if (value instanceof Uint8Array) {
    return new TextDecoder("utf-8", { fatal: true }).decode(value);
  }
  const text = JSON.stringify(value) as string | undefined;
  if (typeof value !== "object" || text === undefined) {
    throw new TypeError("a JSON document is an object, an array, JSON text or its bytes");
  }
  return text;
}

/** A number means seconds. */
export function duration(value: DurationValue): Duration {
  if (typeof value !== "number") {
    return messageOf(DurationSchema, value, "a number of seconds");
  }
  if (!Number.isFinite(value)) {
    throw new TypeError("a length of time is a finite number of seconds");
  }
  // Both parts have the same sign.
  let seconds = Math.trunc(value);
  let nanos = Math.round((value - seconds) * 1e9);
  if (Math.abs(nanos) === 1e9) {
    seconds += Math.sign(nanos);
    nanos = 0;
  }
  return create(DurationSchema, { seconds: BigInt(seconds), nanos });
}

export function timestamp(value: TimeValue): Timestamp {
  if (!(value instanceof Date)) {
    return messageOf(TimestampSchema, value, "a Date");
  }
  if (Number.isNaN(value.getTime())) {
    throw new TypeError("the Date is invalid");
  }
  return timestampFromDate(value);
}

function given(values: object): [string, unknown][] {
  return Object.entries(values).filter(
    ([name, value]) => value !== undefined && name !== "$typeName",
  );
}

function fieldOf(schema: DescMessage, name: string): DescField {
  const field = schema.fields.find((one) => one.localName === name);
  if (field === undefined) {
    throw new TypeError(`${schema.name} has no field ${JSON.stringify(name)}`);
  }
  return field;
}

function set(target: ReflectMessage, field: DescField, value: unknown): void {
  switch (field.fieldKind) {
    case "list": {
      if (!Array.isArray(value)) {
        throw new TypeError("an array is needed");
      }
      const list = target.get(field);
      for (const item of value) {
        list.add(single(field, item));
      }
      break;
    }
    case "map": {
      if (typeof value !== "object") {
        throw new TypeError("an object is needed");
      }
      const map = target.get(field);
      for (const [key, item] of Object.entries(value ?? {})) {
        map.set(key, item);
      }
      break;
    }
    default:
      target.set(field, single(field, value));
  }
}

function single({ message, enum: kind }: DescField, value: unknown): unknown {
  if (kind !== undefined) {
    return typeof value === "string" ? enumNumber(kind, value) : value;
  }
  switch (message?.typeName) {
    case undefined:
      return value;
    case TimestampSchema.typeName:
      return reflect(TimestampSchema, timestamp(value as TimeValue));
    case DurationSchema.typeName:
      return reflect(DurationSchema, duration(value as DurationValue));
    case RetryScheduleSchema.typeName:
      return reflect(RetryScheduleSchema, retrySchedule(value as RetryScheduleValue));
    default:
      return isMessage(value, message) ? reflect(message as DescMessage, value) : value;
  }
}

function retrySchedule(value: RetryScheduleValue): MessageShape<typeof RetryScheduleSchema> {
  return Array.isArray(value)
    ? create(RetryScheduleSchema, { steps: value.map(duration) })
    : messageOf(RetryScheduleSchema, value, "an array of seconds");
}

function messageOf<D extends DescMessage>(
  schema: D,
  value: unknown,
  what: string,
): MessageShape<D> {
  if (!isMessage(value, schema)) {
    throw new TypeError(`${what} is needed`);
  }
  return value;
}

function enumNumber(kind: DescEnum, name: string): number {
  const prefix = (kind.values[0]?.name ?? "").replace(/UNSPECIFIED$/, "");
  const names = kind.values
    .filter((value) => value.number !== 0)
    .map((value) => [value.name.slice(prefix.length).toLowerCase(), value.number] as const);
  const found = names.find(([known]) => known === name);
  if (found === undefined) {
    throw new TypeError(
      `${JSON.stringify(name)} is none of ${names.map(([known]) => known).join(", ")}`,
    );
  }
  return found[1];
}
