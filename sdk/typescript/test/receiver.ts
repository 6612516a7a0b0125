import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface Post {
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** An endpoint on loopback. */
export class Receiver {
  readonly posts: Post[] = [];
  status = 204;
  readonly #server: Server;
  #waiting: (() => void)[] = [];

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        response.writeHead(this.status).end();
        this.posts.push({
          path: request.url ?? "",
          headers: request.headers,
          body: Buffer.concat(chunks),
        });
        for (const resolve of this.#waiting.splice(0)) {
          resolve();
        }
      });
    });
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    await new Promise<void>((resolve) => receiver.#server.listen(0, "127.0.0.1", resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** The first `count` requests, as soon as they have come. */
  async received(count: number): Promise<Post[]> {
    while (this.posts.length < count) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.posts.slice(0, count);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
