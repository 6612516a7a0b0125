import { readFileSync } from "node:fs";
import { isIP } from "node:net";

import { credentials, type ChannelCredentials, type ChannelOptions } from "@grpc/grpc-js";

import { version } from "./version.js";

/** Certificates in PEM, for a private certificate authority or for mutual TLS. */
export interface TlsOptions {
  /**
   * The authorities to trust; unless given, those in the file that the environment variable
   * `OCTOHOOKS_TLS_CA` names, and then those that Node.js comes with.
   */
  rootCertificates?: Uint8Array | string | undefined;
  /**
   * What this client shows of itself where the server wants mutual TLS; unless given, from the file
   * `OCTOHOOKS_TLS_CLIENT_CERTIFICATE`.
   */
  clientCertificate?: Uint8Array | string | undefined;
  /** Its private key; unless given, from the file `OCTOHOOKS_TLS_CLIENT_KEY`. */
  clientKey?: Uint8Array | string | undefined;
}

export interface ConnectionOptions {
  /**
   * Where the server is, as a gRPC target such as `octohooks.example.com:443`. Unless given, the
   * environment variable `OCTOHOOKS_TARGET`, and then `localhost:50051`.
   */
  target?: string | undefined;
  /**
   * Whether to encrypt, or the certificates to do it with. Unless given, everything but loopback and
   * unix sockets is encrypted, and with certificates from the environment these too.
   */
  tls?: boolean | TlsOptions | undefined;
  /** gRPC channel arguments, which replace those of the same names. */
  channelOptions?: Readonly<Record<string, string | number>> | undefined;
}

/** All that is needed to open a channel and to authenticate on it. */
export interface Connection {
  target: string;
  credentials: ChannelCredentials;
  options: ChannelOptions;
  authorization: string;
}

const DEFAULT_TARGET = "localhost:50051";

// What can stand in a header, less spaces: anything else would make gRPC refuse the metadata with an
// error that shows the key.
const API_KEY = /^[\x21-\x7e]+$/;

export const SERVICE_CONFIG = {
  methodConfig: [
    {
      // Every method. A watch is tried again by gRPC until its first response only.
      name: [{}],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.2s",
        maxBackoff: "5s",
        backoffMultiplier: 2,
        // CANCELLED is what calls get that wait at a server when it begins to stop; it never began
        // them (grpc/grpc#41785). What this side cancels is not tried again.
        retryableStatusCodes: ["UNAVAILABLE", "CANCELLED"],
      },
    },
    // Its own code sends again what was not acknowledged.
    { name: [{ service: "octohooks.v1.MessageService", method: "PublishMessages" }] },
  ],
};

const OPTIONS: ChannelOptions = {
  "grpc.primary_user_agent": `octohooks-typescript/${version}`,
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
  // What a name's TXT records say must not replace it.
  "grpc.service_config_disable_resolution": 1,
  // A connection that went away silently is noticed after 40 seconds. Pings are sent during calls
  // only, and the server's bookmarks on a watch come more often.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // A server that is back is found within seconds, however long it was away.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
};

/**
 * The connection that a client's arguments and the environment ask for.
 *
 * @throws TypeError there is no API key, or it holds what no key holds; or certificates cannot be had.
 */
export function connection(apiKey: string | undefined, options: ConnectionOptions): Connection {
  const key = (apiKey || process.env["OCTOHOOKS_API_KEY"] || "").trim();
  if (!key) {
    throw new TypeError("an API key is needed: pass it or set OCTOHOOKS_API_KEY");
  }
  if (!API_KEY.test(key)) {
    throw new TypeError("the API key holds spaces or characters other than ASCII");
  }
  const target = (options.target || process.env["OCTOHOOKS_TARGET"] || "").trim() || DEFAULT_TARGET;
  const local = isLocal(target);
  return {
    target,
    credentials: channelCredentials(options.tls, local),
    options: {
      ...OPTIONS,
      // A proxy from the environment would carry to another host what is meant to stay on this one.
      ...(local ? { "grpc.enable_http_proxy": 0 } : {}),
      ...options.channelOptions,
    },
    authorization: `Bearer ${key}`,
  };
}

function channelCredentials(
  tls: boolean | TlsOptions | undefined,
  local: boolean,
): ChannelCredentials {
  if (tls === false) {
    return credentials.createInsecure();
  }
  const certificates = certificatesOf(typeof tls === "object" ? tls : {});
  // Certificates are reason enough to encrypt, even on this machine.
  if (tls === undefined && local && certificates.every((one) => one === null)) {
    return credentials.createInsecure();
  }
  const [rootCertificates, clientKey, clientCertificate] = certificates;
  if ((clientKey === null) !== (clientCertificate === null)) {
    throw new TypeError("a client's certificate and its key are only good together");
  }
  return credentials.createSsl(rootCertificates, clientKey, clientCertificate);
}

type Certificates = [root: Buffer | null, clientKey: Buffer | null, client: Buffer | null];

/** What is given, and the rest from files; a certificate and its key come from one place. */
function certificatesOf(given: TlsOptions): Certificates {
  const root = pem(given.rootCertificates) ?? fileOf("OCTOHOOKS_TLS_CA");
  const key = pem(given.clientKey);
  const certificate = pem(given.clientCertificate);
  return key === null && certificate === null
    ? [root, fileOf("OCTOHOOKS_TLS_CLIENT_KEY"), fileOf("OCTOHOOKS_TLS_CLIENT_CERTIFICATE")]
    : [root, key, certificate];
}

function pem(value: Uint8Array | string | undefined): Buffer | null {
  return value === undefined ? null : Buffer.from(value as Uint8Array);
}

/** What the file holds that an environment variable names; null when it is not set. */
function fileOf(variable: string): Buffer | null {
  const path = (process.env[variable] ?? "").trim();
  if (!path) {
    return null;
  }
  try {
    return readFileSync(path);
  } catch (error) {
    throw new TypeError(`${variable} is ${path}, which cannot be read`, { cause: error });
  }
}

/** Whether a gRPC target is this machine: a unix socket, `localhost`, or loopback addresses only. */
export function isLocal(target: string): boolean {
  const [, scheme = "", rest = ""] = /^(unix|unix-abstract|dns|ipv4|ipv6):(.*)$/.exec(target) ?? [];
  if (scheme === "unix" || scheme === "unix-abstract") {
    return true;
  }
  let addresses = target;
  if (scheme === "dns") {
    // What follows two slashes only is a name server, and that could say anything.
    addresses = rest.replace(/^\/\/\//, "");
  } else if (scheme) {
    addresses = rest;
  }
  return addresses.split(",").every((address) => isLoopback(hostOf(address)));
}

function hostOf(address: string): string {
  if (address.startsWith("[")) {
    return address.slice(1).split("]")[0] ?? "";
  }
  const parts = address.split(":");
  return parts.length > 2 ? address : (parts[0] ?? "");
}

function isLoopback(host: string): boolean {
  switch (isIP(host)) {
    case 4:
      return host.startsWith("127.");
    case 6:
      return /^(0*:)+0*1$/.test(host);
    default:
      return host.toLowerCase() === "localhost";
  }
}
