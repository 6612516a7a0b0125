import type { CallOptions, CreateOptions } from "../calls.js";
import { duration, filled } from "../convert.js";
import { ApiKeySchema, type ApiKey } from "../gen/octohooks/v1/api_key_pb.js";
import {
  ApiKeyService,
  type CreateApiKeyResponse,
  type RotateApiKeyResponse,
} from "../gen/octohooks/v1/api_key_service_pb.js";
import { Resource } from "../resource.js";
import type { ApiKeyValues, DurationValue, PageOptions } from "../values.js";

const { method } = ApiKeyService;

/** The environment's ID; needed with the operator's key only. */
interface InEnvironment {
  environment?: string | undefined;
}

/** The keys that open an environment, with the operator's key or with a key of that environment. */
export class ApiKeyResource extends Resource {
  /** Makes a key. The answer's `key` is the key itself, which is never shown again. */
  async create(
    { environment, ...values }: ApiKeyValues & InEnvironment = {},
    options?: CreateOptions,
  ): Promise<CreateApiKeyResponse> {
    const request = { environment: environment ?? "", apiKey: filled(ApiKeySchema, values) };
    return this.transport.create(method.createApiKey, request, options);
  }

  /** The keys that have not been revoked, newest first. */
  list(
    { environment = "", pageSize = 50 }: InEnvironment & PageOptions = {},
    options?: CallOptions,
  ): AsyncGenerator<ApiKey, void, undefined> {
    return this.transport.list(
      method.listApiKeys,
      { environment, pageSize },
      (response) => response.apiKeys,
      options,
    );
  }

  /**
   * Replaces the key with this ID by a new one, which is the answer's `key` and is never shown again.
   * The old one stops at once, or after the `overlap` (at most 7 days).
   */
  async rotate(
    apiKey: string,
    { overlap }: { overlap?: DurationValue | undefined } = {},
    options?: CreateOptions,
  ): Promise<RotateApiKeyResponse> {
    const request = { apiKey, ...(overlap === undefined ? {} : { overlap: duration(overlap) }) };
    return this.transport.create(method.rotateApiKey, request, options);
  }

  /** Ends the key with this ID at once. */
  async revoke(apiKey: string, options?: CallOptions): Promise<void> {
    await this.transport.call(method.revokeApiKey, { apiKey }, options);
  }
}
