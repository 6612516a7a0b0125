/** Where the API key may go in the clear, and how the server is connected to. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { ServerCredentials } from "@grpc/grpc-js";
import { Octohooks, Unavailable, Webhook } from "octohooks";

import { connection, isLocal } from "../dist/connection.js";
import { FakeServer } from "./fakeServer.js";
import { Setup } from "./setup.js";

const setup = new Setup();
const VARIABLES = [
  "OCTOHOOKS_API_KEY",
  "OCTOHOOKS_TARGET",
  "OCTOHOOKS_TLS_CA",
  "OCTOHOOKS_TLS_CLIENT_CERTIFICATE",
  "OCTOHOOKS_TLS_CLIENT_KEY",
  "grpc_proxy",
  "http_proxy",
];
let before: Record<string, string | undefined> = {};

beforeEach(() => {
  before = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
  for (const name of VARIABLES) {
    delete process.env[name];
  }
});
afterEach(() => {
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) {
      delete process.env[name];
    } else {
      process.env[name] = value;
    }
  }
});

const LOCAL = [
  "localhost",
  "localhost:50051",
  "LocalHost:50051",
  "127.0.0.1:50051",
  "127.9.9.9:50051",
  "[::1]:50051",
  "::1",
  "0:0:0:0:0:0:0:1",
  "dns:localhost:50051",
  "dns:///localhost:50051",
  "ipv4:127.0.0.1:50051",
  "ipv4:127.0.0.1:1,127.0.0.2:2",
  "ipv6:[::1]:50051",
  "unix:/run/octohooks.sock",
  "unix:///run/octohooks.sock",
];

const ELSEWHERE = [
  "octohooks.example.com:443",
  "dns:///octohooks.example.com:443",
  "dns://127.0.0.1/octohooks.example.com:443",
  "dns://192.0.2.1/localhost:443",
  "10.0.0.1:50051",
  "0.0.0.0:50051",
  "[::]:50051",
  "[1::1]:50051",
  "[::10]:50051",
  "[2001:db8::1]:50051",
  "ipv4:127.0.0.1:1,10.0.0.1:2",
  "localhost.example.com:50051",
  "127.0.0.1.example.com:50051",
  "localhost,octohooks.example.com",
  "xds:///localhost:50051",
  "unix.example.com:50051",
  "unix",
];

test("loopback and unix sockets are plaintext unless told", () => {
  for (const target of LOCAL) {
    assert.equal(isLocal(target), true, target);
    assert.equal(connection("key", { target }).credentials._isSecure(), false, target);
    assert.equal(connection("key", { target, tls: true }).credentials._isSecure(), true, target);
  }
});

test("everything else is encrypted unless told", () => {
  for (const target of ELSEWHERE) {
    assert.equal(isLocal(target), false, target);
    assert.equal(connection("key", { target }).credentials._isSecure(), true, target);
    assert.equal(connection("key", { target, tls: false }).credentials._isSecure(), false, target);
  }
});

test("an encrypting client sends nothing to a server in the clear", async () => {
  await assert.rejects(
    setup.connect("key", { tls: true }).application.get("some-user"),
    Unavailable,
  );
  assert.deepEqual(setup.server.received, []);
});

// Whoever runs the tests makes the certificates, since Node.js cannot.
const certificates = process.env["OCTOHOOKS_TEST_CERTIFICATES"];
const skip = certificates === undefined && "OCTOHOOKS_TEST_CERTIFICATES names no folder";

test(
  "certificates of a private authority are used, and others are not trusted",
  { skip },
  async () => {
    const file = (name: string): Buffer => readFileSync(join(certificates ?? "", name));
    const keys = { cert_chain: file("server.pem"), private_key: file("server.pem") };
    const server = await FakeServer.start("127.0.0.1:0", ServerCredentials.createSsl(null, [keys]));
    try {
      const { target } = server;
      const trusting = setup.connect("key", {
        target,
        tls: { rootCertificates: file("authority.pem") },
      });
      await trusting.application.get("some-user");
      assert.equal(server.received.length, 1);
      await assert.rejects(
        setup.connect("key", { target, tls: true }).application.get("x"),
        Unavailable,
      );
      assert.equal(server.received.length, 1);
    } finally {
      server.stop();
    }
  },
);

test("a client shows its certificate, from options or the environment", { skip }, async () => {
  const path = (name: string): string => join(certificates ?? "", name);
  const [authority, pair] = [readFileSync(path("authority.pem")), readFileSync(path("server.pem"))];
  const keys = { cert_chain: pair, private_key: pair };
  const server = await FakeServer.start(
    "127.0.0.1:0",
    ServerCredentials.createSsl(authority, [keys], true),
  );
  const { target } = server;
  try {
    const tls = { rootCertificates: authority, clientCertificate: pair, clientKey: pair };
    await setup.connect("key", { target, tls }).application.get("some-user");
    await assert.rejects(
      setup.connect("key", { target, tls: { rootCertificates: authority } }).application.get("x"),
      Unavailable,
    );
    process.env["OCTOHOOKS_TLS_CA"] = path("authority.pem");
    process.env["OCTOHOOKS_TLS_CLIENT_CERTIFICATE"] = path("server.pem");
    process.env["OCTOHOOKS_TLS_CLIENT_KEY"] = path("server.pem");
    await setup.connect("key", { target }).application.get("some-user");
    assert.equal(server.received.length, 2);
    assert.equal(connection("key", { target, tls: false }).credentials._isSecure(), false);
  } finally {
    server.stop();
  }
});

test("certificates that cannot be had are refused with a sentence", () => {
  process.env["OCTOHOOKS_TLS_CA"] = "/nowhere/authority.pem";
  assert.throws(() => connection("key", {}), /OCTOHOOKS_TLS_CA is \/nowhere\/authority.pem/);
  delete process.env["OCTOHOOKS_TLS_CA"];
  assert.throws(() => connection("key", { tls: { clientKey: "PEM" } }), /only good together/);
});

test("a unix socket is a target", async () => {
  const folder = mkdtempSync(join(tmpdir(), "octohooks-"));
  const server = await FakeServer.start(`unix:${join(folder, "s")}`);
  try {
    await setup.connect("key", { target: server.target }).application.get("some-user");
    assert.equal(server.received.length, 1);
  } finally {
    server.stop();
    rmSync(folder, { recursive: true });
  }
});

test("what stays on this machine never goes through a proxy", async () => {
  process.env["grpc_proxy"] = process.env["http_proxy"] = "http://127.0.0.1:1";
  await setup.connect().application.get("some-user");
  assert.equal(setup.server.received.length, 1);
});

test("channel options replace those of the same name", () => {
  const { options } = connection("key", { channelOptions: { "grpc.keepalive_time_ms": 1 } });
  assert.equal(options["grpc.keepalive_time_ms"], 1);
  assert.equal(options["grpc.keepalive_timeout_ms"], 10_000);
});

test("key and target come from the environment unless they are given", async () => {
  process.env["OCTOHOOKS_API_KEY"] = "from-the-environment\n";
  process.env["OCTOHOOKS_TARGET"] = setup.server.target;
  const client = new Octohooks();
  await client.application.get("some-user");
  client.close();
  assert.equal(
    setup.server.received[0]?.metadata.get("authorization")[0],
    "Bearer from-the-environment",
  );
  assert.equal(connection("given", {}).authorization, "Bearer given");
  assert.equal(connection("given", { target: "a:1" }).target, "a:1");
  delete process.env["OCTOHOOKS_TARGET"];
  assert.equal(connection("given", {}).target, "localhost:50051");
});

test("a client without an API key is refused with a sentence that says where to put it", () => {
  assert.throws(() => new Octohooks(), /OCTOHOOKS_API_KEY/);
});

test("an API key that cannot be sent is refused without being shown", () => {
  for (const key of ["se cret", "secrét", "sec\nret"]) {
    assert.throws(
      () => new Octohooks(key),
      (error) => error instanceof TypeError && !error.message.includes(key),
    );
  }
});

test("closing an unused client is fine, and twice too", () => {
  const client = setup.connect();
  client.close();
  client.close();
});

test("a client gives Webhook for receivers", () => {
  assert.equal(Octohooks.Webhook, Webhook);
});
