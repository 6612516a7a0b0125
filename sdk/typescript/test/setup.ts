import { afterEach, beforeEach } from "node:test";

import { Backoff, Octohooks, type OctohooksOptions } from "octohooks";

import { SERVICE_CONFIG } from "../dist/connection.js";
import { FakeServer } from "./fakeServer.js";

// The client's own, with waits that a test need not notice.
const IMPATIENT = JSON.stringify(SERVICE_CONFIG)
  .replace('"initialBackoff":"0.2s"', '"initialBackoff":"0.001s"')
  .replace('"maxBackoff":"5s"', '"maxBackoff":"0.001s"');

/** A fake server and a client for each test of a file. */
export class Setup {
  server!: FakeServer;
  client!: Octohooks;
  readonly #clients: Octohooks[] = [];

  constructor() {
    beforeEach(async () => {
      this.server = await FakeServer.start();
      this.client = this.connect();
    });
    afterEach(() => {
      for (const client of this.#clients.splice(0)) {
        client.close();
      }
      this.server.stop();
    });
  }

  /** Another client, which waits for next to nothing before it connects again. */
  connect(apiKey = "key", options: OctohooksOptions = {}): Octohooks {
    const client = new Octohooks(apiKey, {
      target: this.server.target,
      reconnect: new Backoff({ initialSeconds: 0.001, maximumSeconds: 0.001 }),
      ...options,
      // Else clients of one process share the wait before they connect anew.
      channelOptions: {
        "grpc.service_config": IMPATIENT,
        "grpc.use_local_subchannel_pool": 1,
        "grpc.initial_reconnect_backoff_ms": 10,
        "grpc.max_reconnect_backoff_ms": 10,
        ...options.channelOptions,
      },
    });
    this.#clients.push(client);
    return client;
  }
}

/** Something that happens once. */
export class Happening {
  readonly #promise: Promise<void>;
  happen!: () => void;

  constructor() {
    this.#promise = new Promise((resolve) => {
      this.happen = resolve;
    });
  }

  get happened(): Promise<void> {
    return this.#promise;
  }
}

/** All that an iteration gives. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) {
    found.push(item);
  }
  return found;
}
