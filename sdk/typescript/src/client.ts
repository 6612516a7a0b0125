import { Backoff } from "./backoff.js";
import { connection, type ConnectionOptions } from "./connection.js";
import { ApiKeyResource } from "./resources/apiKey.js";
import { ApplicationResource } from "./resources/application.js";
import { AttemptResource } from "./resources/attempt.js";
import { AuditResource } from "./resources/audit.js";
import { DeliveryResource } from "./resources/delivery.js";
import { EndpointResource } from "./resources/endpoint.js";
import { EnvironmentResource } from "./resources/environment.js";
import { EventTypeResource } from "./resources/eventType.js";
import { JobResource } from "./resources/job.js";
import { MessageResource } from "./resources/message.js";
import { OperationalWebhookResource } from "./resources/operationalWebhook.js";
import { Transport } from "./transport.js";
import { Webhook } from "./webhook.js";

export interface OctohooksOptions extends ConnectionOptions {
  /**
   * How long a call may take, its retries included, in seconds: 10 unless given; `Infinity` for no
   * limit. Iterations over a watch or over acknowledgements have none.
   */
  timeoutSeconds?: number | undefined;
  /** The waits before a watch or a stream of messages connects again. */
  reconnect?: Backoff | undefined;
}

/** A client of one server. It connects with the first call. */
export class Octohooks {
  static readonly Webhook = Webhook;

  readonly environment: EnvironmentResource;
  readonly apiKey: ApiKeyResource;
  readonly application: ApplicationResource;
  readonly eventType: EventTypeResource;
  readonly endpoint: EndpointResource;
  readonly message: MessageResource;
  readonly delivery: DeliveryResource;
  readonly attempt: AttemptResource;
  readonly operationalWebhook: OperationalWebhookResource;
  readonly job: JobResource;
  readonly audit: AuditResource;
  readonly #transport: Transport;

  /**
   * @param apiKey a key of an environment, or the operator's; unless given, the environment variable
   *   `OCTOHOOKS_API_KEY`.
   * @throws TypeError no API key is given, or it holds what no key holds.
   */
  constructor(apiKey?: string, options: OctohooksOptions = {}) {
    const transport = new Transport(
      connection(apiKey, options),
      options.timeoutSeconds ?? 10,
      options.reconnect ?? new Backoff(),
    );
    this.#transport = transport;
    this.environment = new EnvironmentResource(transport);
    this.apiKey = new ApiKeyResource(transport);
    this.application = new ApplicationResource(transport);
    this.eventType = new EventTypeResource(transport);
    this.endpoint = new EndpointResource(transport);
    this.message = new MessageResource(transport);
    this.delivery = new DeliveryResource(transport);
    this.attempt = new AttemptResource(transport);
    this.operationalWebhook = new OperationalWebhookResource(transport);
    this.job = new JobResource(transport);
    this.audit = new AuditResource(transport);
  }

  /**
   * Ends the connection, with every watch and call that is under way. A program that has nothing else
   * to do ends without it, too.
   */
  close(): void {
    this.#transport.close();
  }
}
