import type { CallOptions, CreateOptions } from "../calls.js";
import { filled, maskOf } from "../convert.js";
import { EnvironmentSchema, type Environment } from "../gen/octohooks/v1/environment_pb.js";
import { EnvironmentService } from "../gen/octohooks/v1/environment_service_pb.js";
import { present, Resource } from "../resource.js";
import type { EnvironmentValues, PageOptions } from "../values.js";

const { method } = EnvironmentService;

/** The units of isolation. Every method needs the operator's key. */
export class EnvironmentResource extends Resource {
  /** Makes an environment. It has no API key yet: `apiKey.create` makes one. */
  async create(
    values: EnvironmentValues & { name: string },
    options?: CreateOptions,
  ): Promise<Environment> {
    const environment = filled(EnvironmentSchema, values);
    const response = await this.transport.create(
      method.createEnvironment,
      { environment },
      options,
    );
    return present(response.environment);
  }

  /** Answers one environment; `NotFound` when there is none with this ID. */
  async get(environment: string, options?: CallOptions): Promise<Environment> {
    const response = await this.transport.call(method.getEnvironment, { environment }, options);
    return present(response.environment);
  }

  /** All environments, oldest first. */
  list(
    { pageSize = 50 }: PageOptions = {},
    options?: CallOptions,
  ): AsyncGenerator<Environment, void, undefined> {
    return this.transport.list(
      method.listEnvironments,
      { pageSize },
      (response) => response.environments,
      options,
    );
  }

  /** Changes the fields that are given, and no others. `null` brings back a default. */
  async update(
    environment: string,
    changes: EnvironmentValues,
    options?: CallOptions,
  ): Promise<Environment> {
    const response = await this.transport.call(
      method.updateEnvironment,
      {
        environment,
        values: filled(EnvironmentSchema, changes),
        updateMask: maskOf(EnvironmentSchema, changes),
      },
      options,
    );
    return present(response.environment);
  }

  /** Deletes an environment with all that is in it. It cannot be undone. */
  async delete(environment: string, options?: CallOptions): Promise<void> {
    await this.transport.call(method.deleteEnvironment, { environment }, options);
  }
}
