"""The TypeScript SDK: its own tests, run in Node.js, and what they need something else for."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from octohooks import Webhook, __version__

from tests.acceptance.process import ServerProcess
from tests.certificates import Authority
from tests.receivers import Receiver
from tests.typescript import node
from tests.typescript.consumers import compile_strictly

# The first test that needs the SDK waits for its installation.
pytestmark = pytest.mark.timeout(node.PATIENCE * 3)

_TESTS = sorted(path.name for path in (node.SDK / "test").glob("*.test.ts"))


@pytest.mark.parametrize("name", _TESTS)
def test_the_tests_in_node_pass(
    name: str, sdk: Path, operator: dict[str, str], tmp_path: Path
) -> None:
    variables = {**operator, "OCTOHOOKS_TEST_CERTIFICATES": str(certificates(tmp_path))}
    command = [node.need("node"), "--test", "--test-timeout=60000", "--test-reporter=tap"]
    compiled = f"build/{name.removesuffix('.ts')}.js"

    done = node.run([*command, compiled], sdk, variables)

    assert done.returncode == 0, failures(done.stdout)
    assert "\n# fail 0\n" in done.stdout, done.stdout
    assert "\n# skipped 0\n" in done.stdout, done.stdout
    assert "\n# pass 0\n" not in done.stdout, done.stdout


def certificates(folder: Path) -> Path:
    """A folder with a certificate for 127.0.0.1 and its key in one file, and its authority."""
    authority = Authority.make()
    (folder / "authority.pem").write_text(authority.pem())
    authority.server_context(folder, "127.0.0.1")
    (server,) = set(folder.glob("*.pem")) - {folder / "authority.pem"}
    server.rename(folder / "server.pem")
    return folder


def failures(tap: str) -> str:
    """What a report says about the tests that failed; all of it when it says nothing."""
    lines = tap.splitlines()
    shown: list[str] = []
    indentation: int | None = None
    for line in lines:
        content = line.lstrip()
        depth = len(line) - len(content)
        if content.startswith("not ok"):
            indentation = depth
        elif indentation is not None and content and depth <= indentation:
            indentation = None
        if indentation is not None:
            shown.append(line)
    return "\n".join(shown or lines)


SNIPPET = """
import { Octohooks } from "octohooks";

const octohooks = new Octohooks("AUTH_TOKEN");

octohooks.application.update("some-user", {
  name: "Some User Application",
});
"""


async def test_the_example_of_the_overview_runs_as_it_stands_and_ends_by_itself(
    consumer: Path, server: ServerProcess, tmp_path: Path
) -> None:
    program = consumer / f"{tmp_path.name}.mts"
    async with server.connect() as client:
        program.write_text(SNIPPET.replace("AUTH_TOKEN", server.api_key))
        compile_strictly(program)
        node.output(
            [node.need("node"), program.with_suffix(".mjs").name],
            consumer,
            {"OCTOHOOKS_TARGET": server.address},
        )
        application = await client.application.get("some-user")
    assert application.name == "Some User Application"


def test_the_package_holds_what_it_needs_and_nothing_else(consumer: Path) -> None:
    package = consumer / "node_modules/octohooks"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert {"README.md", "package.json", "dist/index.js", "dist/index.d.ts"} <= files
    assert not [name for name in files if not name.startswith(("dist/", "README.md", "package."))]
    # With what comes for gRPC and protobuf alone.
    scopes = {path.name for path in (consumer / "node_modules").iterdir()}
    assert {"octohooks", "@bufbuild", "@grpc"} <= scopes
    assert "typescript" not in scopes


def test_the_package_works_as_a_commonjs_module_too(
    consumer: Path, operator: dict[str, str]
) -> None:
    program = """
    const { Octohooks, Webhook } = require("octohooks");
    const { ApplicationService } = require("octohooks/v1");
    const octohooks = new Octohooks();
    octohooks.environment.create({ name: "CommonJS" }).then(async ({ id, name }) => {
      await octohooks.environment.delete(id);
      console.log(name, ApplicationService.typeName, Octohooks.Webhook === Webhook);
    });
    """
    printed = node.output([node.need("node"), "--eval", program], consumer, operator)
    assert printed == "CommonJS octohooks.v1.ApplicationService true\n"


def test_misspelt_and_missing_values_are_errors_of_types(consumer: Path, tmp_path: Path) -> None:
    program = consumer / f"{tmp_path.name}.mts"
    program.write_text(
        """
        import { Octohooks, type ApplicationValues } from "octohooks";

        const octohooks = new Octohooks("key");
        const values: ApplicationValues = { uid: "some-user", rateLimit: null };
        const made: string = (await octohooks.application.create(values)).id;
        for await (const { name } of octohooks.application.list()) {
          console.log(name.toUpperCase(), made);
        }
        await octohooks.endpoint.create("a", { url: "b", signatureType: "ed25519" });
        // @ts-expect-error
        await octohooks.application.create({ nmae: "x" });
        // @ts-expect-error
        await octohooks.application.create({ name: 5 });
        // @ts-expect-error
        await octohooks.endpoint.create("a", {});
        // @ts-expect-error
        await octohooks.endpoint.create("a", { url: "b", signatureType: "rsa" });
        // @ts-expect-error
        await octohooks.message.create("a", { eventType: "x" });
        // @ts-expect-error
        octohooks.attempt.watch({ kinds: ["sent"] });
        """
    )
    compile_strictly(program)


def ed25519_secrets() -> tuple[str, str]:
    """A private and a public key, as Octohooks writes them."""
    key = Ed25519PrivateKey.generate()
    private = base64.b64encode(key.private_bytes_raw()).decode()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return f"whsk_{private}", f"whpk_{public}"


def test_what_others_sign_verifies(sdk: Path) -> None:
    body = '{"id":1,"name":"Zoë"}'
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    now = datetime.now(UTC)
    reference = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign("msg_1", now, body),
    }
    private, public = ed25519_secrets()
    cases = [
        {"secret": secret, "headers": reference},
        {"secret": secret, "headers": Webhook(secret).sign(body)},
        {"secret": public, "headers": Webhook(private).sign(body)},
    ]
    program = """
    const { Webhook } = require("octohooks");
    const { body, cases } = JSON.parse(process.argv[1]);
    for (const { secret, headers } of cases) {
      console.log(new Webhook(secret).verify(body, headers).name);
    }
    """
    arguments = json.dumps({"body": body, "cases": cases})
    printed = node.output([node.need("node"), "--eval", program, arguments], sdk)
    assert printed.splitlines() == ["Zoë"] * 3


def test_what_it_signs_verifies_elsewhere(sdk: Path) -> None:
    body = '{"id":1}'
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    private, public = ed25519_secrets()
    program = """
    const { Webhook } = require("octohooks");
    const [body, ...secrets] = process.argv.slice(1);
    console.log(JSON.stringify(secrets.map((secret) => new Webhook(secret).sign(body))));
    """
    command = [node.need("node"), "--eval", program, body, secret, private]
    shared, asymmetric = json.loads(node.output(command, sdk))
    assert standardwebhooks.Webhook(secret).verify(body, shared) == {"id": 1}
    assert Webhook(public).verify(body, asymmetric) == {"id": 1}


WATCHER = """
const { Octohooks, Backoff } = require("octohooks");
const octohooks = new Octohooks(undefined, {
  reconnect: new Backoff({ initialSeconds: 0.05, maximumSeconds: 0.05 }),
  channelOptions: { "grpc.initial_reconnect_backoff_ms": 50, "grpc.max_reconnect_backoff_ms": 50 },
});
(async () => {
  const watch = octohooks.attempt.watch();
  await watch.waitUntilLive();
  console.log("live");
  for await (const { event } of watch) {
    console.log(event.value.eventType);
    if (event.value.eventType === "last") break;
  }
})();
"""


@contextmanager
def watcher(sdk: Path, server: ServerProcess) -> Iterator[Iterator[str]]:
    """The lines of a program that watches until it has seen an event of the type `last`."""
    variables = {"OCTOHOOKS_TARGET": server.address, "OCTOHOOKS_API_KEY": server.api_key}
    with subprocess.Popen(
        [node.need("node"), "--eval", WATCHER],
        cwd=sdk,
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield (line.strip() for line in process.stdout)
            assert process.wait(node.PATIENCE) == 0
        finally:
            process.kill()


async def test_a_watch_goes_on_over_stops_and_crashes_of_the_server(
    sdk: Path, tmp_path: Path
) -> None:
    server = ServerProcess(tmp_path / "server")
    try:
        await server.start()
        async with Receiver() as receiver, server.connect() as client:
            await client.application.create(uid="some-user")
            await client.endpoint.create("some-user", url=receiver.url)
            with watcher(sdk, server) as lines:
                seen = [await _next(lines)]
                for event_type in ("first", "second", "last"):
                    await client.message.create("some-user", event_type=event_type, payload={})
                    seen.append(await _next(lines))
                    if event_type == "first":
                        await server.kill()
                        await server.restart()
                    elif event_type == "second":
                        assert await server.stop() == 0
                        await server.restart()
    finally:
        server.discard()
    assert seen == ["live", "first", "second", "last"]


async def _next(lines: Iterator[str]) -> str:
    return await asyncio.to_thread(next, lines)


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((node.SDK / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all(package["integrity"] for package in packages.values())


def test_both_sdks_have_one_version() -> None:
    assert json.loads((node.SDK / "package.json").read_text())["version"] == __version__


def test_the_generated_code_is_what_the_protos_give(sdk: Path) -> None:
    command = [sys.executable, str(node.ROOT / "tools/generate_typescript.py"), "--check"]
    assert "up to date" in node.output(command, node.ROOT)
