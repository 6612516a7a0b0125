/** Verifying webhooks. tests/typescript holds it against an implementation of others', too. */

import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Webhook, WebhookVerificationError, type WebhookHeaders } from "octohooks";

const SECRET = `whsec_${randomBytes(32).toString("base64")}`;
const OTHER_SECRET = `whsec_${randomBytes(32).toString("base64")}`;
const BODY = '{"id":1,"name":"Zoë"}';
const NOW = new Date("2026-07-01T12:00:00Z");

/** A receiver for whom it is `NOW`. */
function webhook(secret = SECRET, toleranceSeconds?: number): Webhook {
  return new Webhook(secret, { now: () => NOW, toleranceSeconds });
}

/** A private and a public key, as Octohooks writes them. */
function ed25519Secrets(): { privateKey: string; publicKey: string } {
  const pair = generateKeyPairSync("ed25519");
  const raw = (part: "d" | "x"): string =>
    Buffer.from(pair.privateKey.export({ format: "jwk" })[part] ?? "", "base64url").toString(
      "base64",
    );
  return { privateKey: `whsk_${raw("d")}`, publicKey: `whpk_${raw("x")}` };
}

function refused(verify: () => unknown, sentence?: RegExp): void {
  assert.throws(verify, (error) => {
    return error instanceof WebhookVerificationError && (sentence?.test(error.message) ?? true);
  });
}

test("an example of the specification verifies", () => {
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const receiver = new Webhook(secret, { now: () => new Date(1614265330_000) });
  const headers = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  };
  assert.deepEqual(receiver.verify('{"test": 2432232314}', headers), { test: 2432232314 });
});

test("the signature is that of id, time and body", () => {
  const headers = webhook().sign(BODY, { messageId: "msg_1" });
  const key = Buffer.from(SECRET.slice("whsec_".length), "base64");
  const expected = createHmac("sha256", key)
    .update(`msg_1.${NOW.getTime() / 1000}.${BODY}`)
    .digest("base64");
  assert.equal(headers["webhook-signature"], `v1,${expected}`);
});

test("a body verifies as text and as bytes, also as a part of a larger buffer", () => {
  const headers = webhook().sign(BODY);
  const bytes = new TextEncoder().encode(`..${BODY}..`);
  for (const body of [BODY, Buffer.from(BODY), bytes.subarray(2, bytes.length - 2)]) {
    assert.deepEqual(webhook().verify(body, headers), { id: 1, name: "Zoë" });
  }
});

test("ed25519 signatures verify with the public key, and no other", () => {
  const { privateKey, publicKey } = ed25519Secrets();
  const headers = webhook(privateKey).sign(BODY);
  assert.match(headers["webhook-signature"], /^v1a,/);
  for (const secret of [publicKey, privateKey]) {
    assert.deepEqual(webhook(secret).verify(BODY, headers), { id: 1, name: "Zoë" });
  }
  refused(() => webhook(ed25519Secrets().publicKey).verify(BODY, headers), /no signature matches/);
  refused(() => webhook(publicKey).verify(`${BODY} `, headers));
  assert.throws(() => webhook(publicKey).sign(BODY), /cannot sign/);
});

test("one of several signatures is enough", () => {
  const mine = webhook().sign(BODY, { messageId: "msg_1" });
  const other = webhook(OTHER_SECRET).sign(BODY, { messageId: "msg_1" });
  const both = [mine["webhook-signature"], other["webhook-signature"]];
  for (const signatures of [both, both.toReversed(), ["v9,x", "nonsense", ...both]]) {
    const headers = { ...mine, "webhook-signature": signatures.join(" ") };
    assert.deepEqual(webhook().verify(BODY, headers), { id: 1, name: "Zoë" });
    assert.deepEqual(webhook().verify(BODY, { ...mine, "webhook-signature": signatures }), {
      id: 1,
      name: "Zoë",
    });
  }
});

test("headers come in any case and in every usual form", () => {
  const headers = webhook().sign(BODY);
  const upper = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toUpperCase(), value]),
  );
  const forms: WebhookHeaders[] = [
    headers,
    upper,
    new Headers(headers),
    new Map(Object.entries(headers)),
    { ...headers, accept: undefined },
  ];
  for (const form of forms) {
    assert.deepEqual(webhook().verify(BODY, form), { id: 1, name: "Zoë" });
  }
});

test("a request without one of the headers is refused", () => {
  for (const missing of ["webhook-id", "webhook-timestamp", "webhook-signature"] as const) {
    for (const value of [undefined, ""]) {
      const headers = { ...webhook().sign(BODY), [missing]: value };
      refused(() => webhook().verify(BODY, headers), new RegExp(missing));
    }
  }
});

test("a change of any byte is refused", () => {
  const headers = webhook().sign(BODY, { messageId: "msg_1" });
  const bytes = Buffer.from(BODY);
  for (let index = 0; index < bytes.length; index += 1) {
    const changed = Buffer.from(bytes);
    changed[index] = (changed[index] ?? 0) ^ 1;
    refused(() => webhook().verify(changed, headers));
  }
  refused(() => webhook().verify(BODY, { ...headers, "webhook-id": "msg_2" }));
  refused(() =>
    webhook().verify(BODY, { ...headers, "webhook-timestamp": String(NOW.getTime() / 1000 - 1) }),
  );
  refused(() => webhook(OTHER_SECRET).verify(BODY, headers));
});

test("what is no signature is refused", () => {
  const headers = webhook().sign(BODY);
  const right = headers["webhook-signature"];
  for (const signature of [
    "v1",
    "v1,",
    "v1,!!!!",
    right.slice(3),
    right.slice(0, -2),
    `${right}=`,
    `v1a${right.slice(2)}`,
    "v1,AAAA",
  ]) {
    refused(() => webhook().verify(BODY, { ...headers, "webhook-signature": signature }));
  }
});

test("a time within the tolerance verifies, and one beyond is refused", () => {
  const sentAt = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);
  const verify = (seconds: number, tolerance?: number): unknown =>
    webhook(SECRET, tolerance).verify(BODY, webhook().sign(BODY, { sentAt: sentAt(seconds) }));
  for (const seconds of [-300, -1, 0, 300]) {
    assert.deepEqual(verify(seconds), { id: 1, name: "Zoë" });
  }
  refused(() => verify(-301), /too old/);
  refused(() => verify(301), /future/);
  assert.deepEqual(verify(-301, 302), { id: 1, name: "Zoë" });
  refused(() => verify(-10, 5), /too old/);
});

test("a time that is no number of seconds is refused, though it is signed", () => {
  for (const timestamp of ["", "x", "-1", "+1", "1.5", "0x10", " 1", "1e9", "١", "9".repeat(13)]) {
    const key = Buffer.from(SECRET.slice("whsec_".length), "base64");
    const signature = createHmac("sha256", key)
      .update(`msg_1.${timestamp}.${BODY}`)
      .digest("base64");
    refused(() =>
      webhook().verify(BODY, {
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp,
        "webhook-signature": `v1,${signature}`,
      }),
    );
  }
});

test("a body that is not JSON is refused, though it is signed", () => {
  refused(() => webhook().verify("no", webhook().sign("no")), /not JSON/);
});

test("what is no secret is refused without being shown", () => {
  const short = randomBytes(23).toString("base64");
  const long = randomBytes(65).toString("base64");
  for (const secret of [
    "",
    "whsec_",
    "secret",
    `whsec_${short}`,
    `whsec_${long}`,
    `whpk_${short}`,
    "whsec_!!!!",
    `other_${SECRET.slice(6)}`,
  ]) {
    assert.throws(
      () => new Webhook(secret),
      (error) =>
        error instanceof TypeError &&
        (secret.length < 8 || !error.message.includes(secret.slice(6))),
    );
  }
});

test("a secret may lack its padding, and white space around it does not matter", () => {
  const headers = webhook().sign(BODY);
  for (const secret of [SECRET.replaceAll("=", ""), ` ${SECRET}\n`]) {
    assert.deepEqual(webhook(secret).verify(BODY, headers), { id: 1, name: "Zoë" });
  }
});

test("the headers of a request to a server of Node.js are taken as they come", async () => {
  const verified = new Promise((resolve, reject) => {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        response.end();
        server.close();
        try {
          resolve(webhook().verify(Buffer.concat(chunks), request.headers));
        } catch (error) {
          reject(error as Error);
        }
      });
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      fetch(`http://127.0.0.1:${port}/`, {
        method: "POST",
        body: BODY,
        headers: webhook().sign(BODY),
      }).catch(reject);
    });
  });
  assert.deepEqual(await verified, { id: 1, name: "Zoë" });
});
