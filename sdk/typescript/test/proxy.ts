import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** Passes bytes on to a server, until a test cuts every connection. */
export class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(host: string, port: number) {
    this.#server = createServer((incoming) => {
      const outgoing = connect(port, host);
      for (const socket of [incoming, outgoing]) {
        this.#sockets.add(socket);
        // What a cut does to a socket is what it is for.
        socket.on("error", () => undefined);
        socket.on("close", () => {
          this.#sockets.delete(socket);
          incoming.destroy();
          outgoing.destroy();
        });
      }
      incoming.pipe(outgoing).pipe(incoming);
    });
  }

  static async start(target: string): Promise<Proxy> {
    const [host = "", port = ""] = target.split(":");
    const proxy = new Proxy(host, Number(port));
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get target(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resets every connection; new ones are let through. */
  cut(): void {
    for (const socket of this.#sockets) {
      socket.resetAndDestroy();
    }
  }

  stop(): void {
    this.cut();
    this.#server.close();
  }
}
