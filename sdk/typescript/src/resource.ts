import type { Transport } from "./transport.js";

/** The calls about one kind of entity. */
export abstract class Resource {
  protected readonly transport: Transport;

  constructor(transport: Transport) {
    this.transport = transport;
  }
}

/** What the server always answers; an answer without it is no answer of this API. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) {
    throw new TypeError("the server's answer is empty");
  }
  return value;
}
