import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  randomUUID,
  sign,
  timingSafeEqual,
  verify,
  type KeyObject,
} from "node:crypto";

const ID = "webhook-id";
const TIMESTAMP = "webhook-timestamp";
const SIGNATURE = "webhook-signature";

/** A request is not what Octohooks sent with this secret, or not lately: answer it with 400. */
export class WebhookVerificationError extends Error {
  override readonly name = "WebhookVerificationError";
}

/**
 * The headers of a request: those of Node.js, of Express and of Fastify (`request.headers`), those of
 * the Fetch API, or any other names and values.
 */
export type WebhookHeaders =
  | Iterable<readonly [string, string]>
  | Readonly<Record<string, string | readonly string[] | undefined>>;

export interface WebhookOptions {
  /** How far the time of sending may lie from now, either way, in seconds: 300 unless given. */
  toleranceSeconds?: number | undefined;
  /** The clock. */
  now?: (() => Date) | undefined;
}

/** Makes and checks the signatures of one algorithm. */
interface Key {
  readonly version: "v1" | "v1a";
  sign(content: Buffer): Buffer;
  isSignature(signature: Buffer, content: Buffer): boolean;
}

/**
 * Verifies the requests that arrive at an endpoint, after the Standard Webhooks specification:
 * `new Webhook("whsec_...").verify(body, headers)`.
 */
export class Webhook {
  readonly #key: Key;
  readonly #toleranceSeconds: number;
  readonly #now: () => Date;

  /**
   * @param secret the endpoint's, as `endpoint.secret` answers it: `whsec_...` for HMAC-SHA256,
   *   `whpk_...` (the public key) for Ed25519. With `whsk_...` (the private key) Ed25519 signatures can
   *   be made, too.
   * @throws TypeError the secret is none of these.
   */
  constructor(
    secret: string,
    { toleranceSeconds = 300, now = () => new Date() }: WebhookOptions = {},
  ) {
    this.#key = keyOf(secret);
    this.#toleranceSeconds = toleranceSeconds;
    this.#now = now;
  }

  /**
   * Answers the payload, parsed as JSON, if the request was signed with the secret within the
   * tolerance.
   *
   * @param body the body as it arrived. Parsed and written again it has other bytes.
   * @param headers the request's headers; upper and lower case are the same.
   * @throws WebhookVerificationError anything else.
   */
  verify<T = unknown>(body: string | Uint8Array, headers: WebhookHeaders): T {
    const values = webhookHeaders(headers);
    this.#checkTime(values.timestamp);
    const content = signedContent(values.id, values.timestamp, body);
    const signatures = signaturesIn(values.signature, this.#key.version);
    if (!signatures.some((signature) => this.#key.isSignature(signature, content))) {
      throw new WebhookVerificationError("no signature matches");
    }
    try {
      return JSON.parse(bytesOf(body).toString("utf-8")) as T;
    } catch (error) {
      throw new WebhookVerificationError("the body is not JSON", { cause: error });
    }
  }

  /**
   * The headers of a request with this body, for a receiver's own tests. Unless given, the message's ID
   * is a new one and the time is now.
   *
   * @throws TypeError the secret is a public key, which cannot sign.
   */
  sign(
    body: string | Uint8Array,
    {
      messageId = `msg_${randomUUID().replaceAll("-", "")}`,
      sentAt = this.#now(),
    }: { messageId?: string; sentAt?: Date } = {},
  ): { [ID]: string; [TIMESTAMP]: string; [SIGNATURE]: string } {
    const timestamp = String(Math.floor(sentAt.getTime() / 1000));
    const signature = this.#key.sign(signedContent(messageId, timestamp, body));
    return {
      [ID]: messageId,
      [TIMESTAMP]: timestamp,
      [SIGNATURE]: `${this.#key.version},${signature.toString("base64")}`,
    };
  }

  #checkTime(timestamp: string): void {
    // Number() alone takes signs, spaces, fractions and hexadecimal digits.
    if (!/^[0-9]{1,12}$/.test(timestamp)) {
      throw new WebhookVerificationError(`${TIMESTAMP} is not a number of seconds`);
    }
    const age = this.#now().getTime() / 1000 - Number(timestamp);
    if (age > this.#toleranceSeconds) {
      throw new WebhookVerificationError(`${TIMESTAMP} is too old`);
    }
    if (-age > this.#toleranceSeconds) {
      throw new WebhookVerificationError(`${TIMESTAMP} lies in the future`);
    }
  }
}

class HmacSha256 implements Key {
  readonly version = "v1";
  readonly #secret: Buffer;

  constructor(secret: Buffer) {
    this.#secret = secret;
  }

  sign(content: Buffer): Buffer {
    return createHmac("sha256", this.#secret).update(content).digest();
  }

  isSignature(signature: Buffer, content: Buffer): boolean {
    const expected = this.sign(content);
    return signature.length === expected.length && timingSafeEqual(signature, expected);
  }
}

// What DER says before the 32 bytes of a key.
const PRIVATE_KEY_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const PUBLIC_KEY_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

class Ed25519 implements Key {
  readonly version = "v1a";
  readonly #privateKey: KeyObject | undefined;
  readonly #publicKey: KeyObject;

  constructor(key: Buffer, { isPrivate }: { isPrivate: boolean }) {
    if (isPrivate) {
      const der = Buffer.concat([PRIVATE_KEY_PREFIX, key]);
      this.#privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
      this.#publicKey = createPublicKey(this.#privateKey);
    } else {
      const der = Buffer.concat([PUBLIC_KEY_PREFIX, key]);
      this.#publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
    }
  }

  sign(content: Buffer): Buffer {
    if (this.#privateKey === undefined) {
      throw new TypeError("a public key (whpk_) cannot sign; it takes the private one (whsk_)");
    }
    return sign(null, content, this.#privateKey);
  }

  isSignature(signature: Buffer, content: Buffer): boolean {
    return verify(null, content, this.#publicKey, signature);
  }
}

function keyOf(secret: string): Key {
  const [prefix = "", encoded = ""] = secret.trim().split(/_(.*)/s);
  // Padding may be missing, as the reference implementations allow.
  const key = decoded(encoded.padEnd(Math.ceil(encoded.length / 4) * 4, "="));
  if (prefix === "whsec" && key && key.length >= 24 && key.length <= 64) {
    return new HmacSha256(key);
  }
  if ((prefix === "whpk" || prefix === "whsk") && key?.length === 32) {
    return new Ed25519(key, { isPrivate: prefix === "whsk" });
  }
  // The value itself stays out of the sentence, since sentences end up in logs.
  throw new TypeError(
    "a webhook secret is whsec_ and base64 of 24 to 64 bytes, or whpk_ or whsk_ and base64 of 32 bytes",
  );
}

/** The bytes of base64; undefined when it is none, which Buffer.from would pass over. */
function decoded(text: string): Buffer | undefined {
  const isBase64 = text.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(text);
  return isBase64 ? Buffer.from(text, "base64") : undefined;
}

function webhookHeaders(headers: WebhookHeaders): {
  id: string;
  timestamp: string;
  signature: string;
} {
  const pairs = Symbol.iterator in headers ? headers : Object.entries(headers);
  const values = new Map<string, string>();
  for (const [name, value] of pairs as Iterable<[string, string | string[] | undefined]>) {
    const key = name.toLowerCase();
    // Signatures can come in several headers.
    const before = key === SIGNATURE && values.has(key) ? `${values.get(key)} ` : "";
    if (value !== undefined) {
      values.set(key, before + (Array.isArray(value) ? value.join(" ") : value));
    }
  }
  const required = (name: string): string => {
    const value = values.get(name);
    if (!value) {
      throw new WebhookVerificationError(`the header ${name} is missing`);
    }
    return value;
  };
  return { id: required(ID), timestamp: required(TIMESTAMP), signature: required(SIGNATURE) };
}

function signedContent(messageId: string, timestamp: string, body: string | Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${messageId}.${timestamp}.`), bytesOf(body)]);
}

function bytesOf(body: string | Uint8Array): Buffer {
  return typeof body === "string"
    ? Buffer.from(body)
    : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

/** The signatures of one version; what is none is passed over, as it may be of a later one. */
function signaturesIn(header: string, version: string): Buffer[] {
  return header
    .split(/[\s]+/)
    .filter((part) => part.startsWith(`${version},`))
    .map((part) => decoded(part.slice(version.length + 1)))
    .filter((signature) => signature !== undefined);
}
